//! The page on which an instance among several tells how it is: plain text by HTTP, on its port of `maestro_members`.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::{debug, warn};

/// How long somebody who asks may take to do so, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many may ask at the same time; the others wait.
const GUESTS: usize = 8;

/// The longest request that is listened to.
const REQUEST_SIZE_BYTES: usize = 8 << 10;

/// Somebody wants to know how we are.
pub(super) type Question = oneshot::Sender<String>;

/// Answers, as long as it lives.
#[derive(Debug)]
pub(super) struct StatusPage {
    questions: mpsc::Receiver<Question>,
    task: AbortHandle,
}

impl Drop for StatusPage {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StatusPage {
    /// Listens at `address`, `HOST:PORT`. Where that cannot be, the page is missed and nothing else.
    pub(super) fn open(address: String) -> StatusPage {
        let (asked, questions) = mpsc::channel(GUESTS);
        let task = tokio::spawn(async move {
            match TcpListener::bind(&address).await {
                Ok(listener) => serve(listener, asked).await,
                Err(error) => warn!("no status page at {address}: {error}"),
            }
            // Nobody asks, ever.
            std::future::pending::<()>().await;
        });
        StatusPage { questions, task: task.abort_handle() }
    }

    /// The next one who wants to know.
    pub(super) async fn next(&mut self) -> Question {
        match self.questions.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }
}

async fn serve(listener: TcpListener, asked: mpsc::Sender<Question>) {
    let guests = std::sync::Arc::new(Semaphore::new(GUESTS));
    loop {
        let Ok(place) = guests.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!("the status page cannot be asked for: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let asked = asked.clone();
        tokio::spawn(async move {
            let answered = timeout(PATIENCE, answer(stream, asked)).await;
            debug!(?answered, "the status page was asked for");
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, asked: mpsc::Sender<Question>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > REQUEST_SIZE_BYTES || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let (status, text) = match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["GET", "/", _] => {
            let (question, answer) = oneshot::channel();
            // Whoever could answer has ended otherwise.
            let _ = asked.send(question).await;
            match answer.await {
                Ok(text) => ("200 OK", text),
                Err(_) => ("503 Service Unavailable", "maestro is stopping\n".to_owned()),
            }
        }
        [_, "/", _] => ("405 Method Not Allowed", "there is GET /\n".to_owned()),
        _ => ("404 Not Found", "there is GET /\n".to_owned()),
    };
    let length = text.len();
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_page_is_told_to_whoever_gets_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, mut questions) = mpsc::channel::<Question>(1);
        tokio::spawn(serve(listener, asked));
        tokio::spawn(async move {
            while let Some(question) = questions.recv().await {
                question.send("all is well\n".into()).unwrap();
            }
        });
        let page = ask(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(page.starts_with("HTTP/1.0 200 OK\r\n") && page.ends_with("\r\n\r\nall is well\n"), "{page}");
        assert!(page.contains("Content-Length: 12\r\n"), "{page}");
        assert!(ask(port, "POST / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 405 "));
        assert!(ask(port, "GET /etc/passwd HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 404 "));
        assert!(ask(port, "\r\n\r\n").await.starts_with("HTTP/1.0 404 "));
        // Who says too much is not listened to.
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = stream.write_all(&vec![b'x'; 3 * REQUEST_SIZE_BYTES]).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
    }
}
