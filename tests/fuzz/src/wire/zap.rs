//! The zap transport: how a stream is cut makes no difference, and what is read is written again as it was.

use maestro::ldmsd::codec::{Frame, FrameDecoder, ZapError};

/// Reads the bytes behind the first as a stream, in pieces of the size that the first says.
pub fn run(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else { return };
    let whole = frames(std::iter::once(stream));
    assert_eq!(frames(stream.chunks(usize::from(*piece) + 1)), whole);
    for frame in whole.0 {
        assert_eq!(frames(std::iter::once(frame.encode().as_slice())), (vec![frame], None));
    }
}

fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<ZapError>) {
    let mut decoder = FrameDecoder::new();
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}
