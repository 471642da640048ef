//! Run an artifact of edgernn: a recurrent model with its state, on ONNX Runtime.
//!
//! ```no_run
//! # fn main() -> Result<(), edgernn::Error> {
//! let model = edgernn::Model::open("model.edgernn")?;
//! let mut stream = model.stream(1)?;
//! let x = [0.5_f32; 10];
//! let outputs = stream.step(&x)?; // or stream.step([edgernn::Input::new("x", &x, &[1, 10])])
//! let y: &[f32] = outputs[0].data()?;
//! # let _ = y; Ok(()) }
//! ```
//!
//! The crate is thin over the C interface in `edgernn.h`, which says what each call does. It has no
//! dependencies: its build compiles `edgernn.c`, which loads ONNX Runtime's shared library when a
//! model is opened.
//!
//! **Errors.** A call that fails returns an [`Error`] and changes nothing.
//!
//! **Lifetimes.** Outputs borrow from their stream until they are dropped; the next call of the
//! stream does not compile before:
//!
//! ```compile_fail,E0499
//! # fn two(stream: &mut edgernn::Stream, x: &[f32]) -> Result<(), edgernn::Error> {
//! let first = stream.step(x)?;
//! let second = stream.step(x)?; // cannot borrow `*stream` as mutable more than once at a time
//! println!("{}", first.len());
//! # let _ = second; Ok(()) }
//! ```
//!
//! **Threads.** A [`Model`] is `Send` and `Sync`: threads share it, each with a stream of its own. A
//! [`Stream`] is `Send`: it may move to another thread, and runs in one at a time.
//!
//! ```compile_fail,E0277
//! fn share<T: Sync>() {}
//! share::<edgernn::Stream>(); // `*mut Stream` cannot be shared between threads safely
//! ```

#![warn(missing_docs)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod ffi;
mod model;
mod stream;
mod tensor;

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::raw::{c_char, c_int};

pub use model::{Differences, Graph, Model, Options, Port};
pub use stream::Stream;
pub use tensor::{Dtype, Element, Input, Inputs, Output, Outputs, F16};

/// What is wrong, by the names of edgernn's errors in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A graph or an artifact breaks the contract, or is not one.
    Contract,
    /// ONNX Runtime is not there, lacks the provider, or failed.
    Provider,
    /// An argument has the wrong name, dtype, shape or value.
    Input,
    /// A state or a snapshot does not fit the model.
    State,
    /// There is no memory.
    Memory,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::Contract => "contract",
            ErrorKind::Provider => "provider",
            ErrorKind::Input => "input",
            ErrorKind::State => "state",
            ErrorKind::Memory => "memory",
        })
    }
}

/// Why a call failed: a kind to decide by, and a sentence with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn input(message: String) -> Self {
        let kind = ErrorKind::Input;
        Error { kind, message }
    }

    fn contract(message: String) -> Self {
        let kind = ErrorKind::Contract;
        Error { kind, message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Run a call of the core, and return its error where it fails.
fn check(call: impl FnOnce(*mut ffi::Error) -> c_int) -> Result<(), Error> {
    let mut error = std::mem::MaybeUninit::<ffi::Error>::uninit();
    let message = error.as_mut_ptr().cast::<c_char>();
    // SAFETY: the memory is that of a message, and a text of no characters is one.
    unsafe { message.write(0) };
    let kind = match call(error.as_mut_ptr()) {
        0 => return Ok(()),
        1 => ErrorKind::Contract,
        2 => ErrorKind::Provider,
        3 => ErrorKind::Input,
        4 => ErrorKind::State,
        _ => ErrorKind::Memory,
    };
    // SAFETY: the message is a text with a NUL at its end.
    let message = unsafe { CStr::from_ptr(message) };
    let message = message.to_string_lossy().into_owned();
    Err(Error { kind, message })
}

/// Return a text for the core; its end is a NUL, which it cannot have in it.
fn c_string(what: &str, text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| {
        Error::input(format!(
            "{what} `{}` has a NUL in it. Give a text without one.",
            text.escape_debug()
        ))
    })
}

/// Return a text of the core, none for NULL.
///
/// # Safety
/// `text` is NULL or a text with a NUL at its end, which lives for `'a`.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    Some(CStr::from_ptr(text).to_str().unwrap_or(""))
}

/// Return elements of the core as a slice, empty for NULL.
///
/// # Safety
/// `data` is NULL or the first of `count` elements, which live for `'a`.
unsafe fn slice<'a, T>(data: *const T, count: usize) -> &'a [T] {
    if data.is_null() || count == 0 {
        return &[];
    }
    std::slice::from_raw_parts(data, count)
}
