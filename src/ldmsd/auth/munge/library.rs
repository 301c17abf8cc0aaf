//! libmunge, loaded when it is first needed, so that neither the build nor a site without MUNGE needs it.
//!
//! The one module of the project that calls into C. What it relies on is documented in `munge.h` (MUNGE 0.5,
//! `libmunge.so.2`, unchanged since 2007): the signatures below, that a context belongs to one thread at a time, and that the
//! caller frees credentials and payloads.

#![allow(unsafe_code, reason = "calls into a C library; each block says why it is sound")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use super::super::Credentials;
use super::MungeError;

const FILE_NAME: &str = if cfg!(target_os = "macos") { "libmunge.2.dylib" } else { "libmunge.so.2" };

/// `MUNGE_OPT_SOCKET`: the path of the socket of munged.
const OPT_SOCKET: c_int = 8;
/// `EMUNGE_SUCCESS`.
const SUCCESS: c_int = 0;
/// `EMUNGE_SOCKET`: munged cannot be talked to.
const NO_SERVICE: c_int = 6;

/// `munge_ctx_t`.
type Context = *mut c_void;

type CtxCreate = unsafe extern "C" fn() -> Context;
type CtxDestroy = unsafe extern "C" fn(Context);
type CtxSet = unsafe extern "C" fn(Context, c_int, ...) -> c_int;
type CtxStrerror = unsafe extern "C" fn(Context) -> *const c_char;
type Strerror = unsafe extern "C" fn(c_int) -> *const c_char;
type Encode = unsafe extern "C" fn(*mut *mut c_char, Context, *const c_void, c_int) -> c_int;
type Decode = unsafe extern "C" fn(
    *const c_char,
    Context,
    *mut *mut c_void,
    *mut c_int,
    *mut libc::uid_t,
    *mut libc::gid_t,
) -> c_int;

/// The functions of libmunge.
pub(super) struct Library {
    ctx_create: CtxCreate,
    ctx_destroy: CtxDestroy,
    ctx_set: CtxSet,
    ctx_strerror: CtxStrerror,
    strerror: Strerror,
    encode: Encode,
    decode: Decode,
    /// Keeps the functions in memory.
    _library: libloading::Library,
}

impl Library {
    /// The library, loaded once. A failure is not remembered: an operator may install it meanwhile.
    pub(super) fn get() -> Result<&'static Library, MungeError> {
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        match LIBRARY.get() {
            Some(library) => Ok(library),
            None => {
                let library = Library::load(FILE_NAME)?;
                Ok(LIBRARY.get_or_init(|| library))
            }
        }
    }

    fn load(file_name: &str) -> Result<Library, MungeError> {
        let missing = |error: libloading::Error| {
            let reason = std::error::Error::source(&error).map(ToString::to_string);
            MungeError::Library(reason.unwrap_or_else(|| error.to_string()))
        };
        // SAFETY: loading runs the initialisers of libmunge and of libc, which have no preconditions.
        let library = unsafe { libloading::Library::new(file_name) }.map_err(missing)?;
        // SAFETY: the types are those that munge.h declares for these names. The pointers are not used after `library` is
        // unloaded, since both live in the same value.
        unsafe {
            Ok(Library {
                ctx_create: *library.get(b"munge_ctx_create\0").map_err(missing)?,
                ctx_destroy: *library.get(b"munge_ctx_destroy\0").map_err(missing)?,
                ctx_set: *library.get(b"munge_ctx_set\0").map_err(missing)?,
                ctx_strerror: *library.get(b"munge_ctx_strerror\0").map_err(missing)?,
                strerror: *library.get(b"munge_strerror\0").map_err(missing)?,
                encode: *library.get(b"munge_encode\0").map_err(missing)?,
                decode: *library.get(b"munge_decode\0").map_err(missing)?,
                _library: library,
            })
        }
    }

    /// Has munged make a credential of this process that carries `payload`. Blocks, for seconds where munged hangs.
    pub(super) fn encode(&self, socket: Option<&CStr>, payload: &[u8]) -> Result<CString, MungeError> {
        let context = self.context(socket)?;
        let length = c_int::try_from(payload.len()).map_err(|_| MungeError::Malformed)?;
        let mut credential = ptr::null_mut();
        // SAFETY: the pointers are valid for the call, `payload` for `length` bytes; the context is ours alone.
        let code = unsafe { (self.encode)(&raw mut credential, context.raw, payload.as_ptr().cast(), length) };
        let credential = Allocated(credential.cast());
        if code != SUCCESS || credential.0.is_null() {
            return Err(context.error(code));
        }
        // SAFETY: upon success it is a NUL-terminated string, which lives until `credential` is dropped.
        Ok(unsafe { CStr::from_ptr(credential.0.cast()) }.to_owned())
    }

    /// Has munged check a credential and tell who made it. Blocks, for seconds where munged hangs.
    pub(super) fn decode(&self, socket: Option<&CStr>, credential: &CStr) -> Result<Credentials, MungeError> {
        let context = self.context(socket)?;
        let mut payload = ptr::null_mut();
        let (mut length, mut uid, mut gid) = (0, 0, 0);
        // SAFETY: the pointers are valid for the call, `credential` is NUL-terminated; the context is ours alone.
        let code = unsafe {
            let (payload, length) = (&raw mut payload, &raw mut length);
            (self.decode)(credential.as_ptr(), context.raw, payload, length, &raw mut uid, &raw mut gid)
        };
        // Some errors leave a payload, too.
        drop(Allocated(payload));
        if code == SUCCESS { Ok(Credentials { uid, gid }) } else { Err(context.error(code)) }
    }

    fn context(&self, socket: Option<&CStr>) -> Result<OwnContext<'_>, MungeError> {
        // SAFETY: has no preconditions.
        let raw = unsafe { (self.ctx_create)() };
        let context = OwnContext { library: self, raw };
        if raw.is_null() {
            return Err(MungeError::Service("out of memory".to_owned()));
        }
        if let Some(socket) = socket {
            // SAFETY: the option takes one string, which is copied; the context is ours alone.
            let code = unsafe { (self.ctx_set)(raw, OPT_SOCKET, socket.as_ptr()) };
            if code != SUCCESS {
                return Err(context.error(code));
            }
        }
        Ok(context)
    }
}

/// A context for one call.
struct OwnContext<'a> {
    library: &'a Library,
    raw: Context,
}

impl OwnContext<'_> {
    /// What went wrong in the last call, in libmunge's words.
    fn error(&self, code: c_int) -> MungeError {
        // SAFETY: the context is valid. The texts are NUL-terminated and live as long as the context, or for ever.
        let text = unsafe {
            let detailed = (self.library.ctx_strerror)(self.raw);
            let text = if detailed.is_null() { (self.library.strerror)(code) } else { detailed };
            if text.is_null() { None } else { Some(CStr::from_ptr(text).to_string_lossy().into_owned()) }
        };
        let text = text.unwrap_or_else(|| format!("error {code}"));
        if code == NO_SERVICE { MungeError::Service(text) } else { MungeError::Credential(text) }
    }
}

impl Drop for OwnContext<'_> {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: it was made by `munge_ctx_create` and is not used any more.
            unsafe { (self.library.ctx_destroy)(self.raw) }
        }
    }
}

/// Memory that libmunge has allocated for its caller; or null.
struct Allocated(*mut c_void);

impl Drop for Allocated {
    fn drop(&mut self) {
        // SAFETY: munge.h says that it is from `malloc` and the caller's to free, once; null is harmless.
        unsafe { libc::free(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_told_with_advice() {
        let error = Library::load("libmunge-that-nobody-has.so.2").err().unwrap().to_string();
        assert!(error.contains("libmunge-that-nobody-has.so.2"), "{error}");
        assert!(error.contains("install libmunge"), "{error}");
    }

    #[test]
    fn a_library_that_is_not_libmunge_is_refused() {
        let error = Library::load("libc.so.6").err().unwrap().to_string();
        assert!(error.contains("munge_ctx_create"), "{error}");
    }
}
