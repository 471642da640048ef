//! The declarations of edgernn.h that this crate calls.

use std::os::raw::{c_char, c_int, c_void};

pub const MESSAGE_SIZE: usize = 1024;

#[repr(C)]
pub struct Error {
    pub message: [c_char; MESSAGE_SIZE],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tensor {
    pub name: *const c_char,
    pub dtype: i32,
    pub rank: usize,
    pub shape: *const i64,
    pub data: *const c_void,
}

#[repr(C)]
pub struct Port {
    pub name: *const c_char,
    pub dtype: i32,
    pub rank: usize,
    pub shape: *const i64,
    pub axes: *const *const c_char,
    pub limit: i64,
    pub delay: i64,
    pub tail: i64,
    pub is_state: bool,
    pub is_lengths: bool,
}

#[repr(C)]
pub struct Options {
    pub library: *const c_char,
    pub api_base: *const c_void,
    pub provider: *const c_char,
    pub threads: i32,
}

/// A model of the core; never read here.
#[repr(C)]
pub struct Model {
    _opaque: [u8; 0],
}

/// A stream of the core; never read here.
#[repr(C)]
pub struct Stream {
    _opaque: [u8; 0],
}

pub type Call = unsafe extern "C" fn(
    stream: *mut Stream,
    inputs: *const Tensor,
    count: usize,
    outputs: *mut *const Tensor,
    output_count: *mut usize,
    error: *mut Error,
) -> c_int;

#[rustfmt::skip]
extern "C" {
    pub fn edgernn_open(path: *const c_char, options: *const Options, model: *mut *mut Model,
        error: *mut Error) -> c_int;
    pub fn edgernn_open_memory(sequence: *const c_void, sequence_size: usize, step: *const c_void,
        step_size: usize, options: *const Options, model: *mut *mut Model,
        error: *mut Error) -> c_int;
    pub fn edgernn_close(model: *mut Model);
    pub fn edgernn_has_graph(model: *const Model, graph: c_int) -> bool;
    pub fn edgernn_input_count(model: *const Model, graph: c_int) -> usize;
    pub fn edgernn_output_count(model: *const Model, graph: c_int) -> usize;
    pub fn edgernn_input(model: *const Model, graph: c_int, place: usize) -> *const Port;
    pub fn edgernn_output(model: *const Model, graph: c_int, place: usize) -> *const Port;
    pub fn edgernn_metadata(model: *const Model, key: *const c_char) -> *const c_char;
    pub fn edgernn_hop(model: *const Model) -> usize;
    pub fn edgernn_carries(model: *const Model) -> bool;
    pub fn edgernn_provider(model: *const Model) -> *const c_char;
    pub fn edgernn_onnxruntime_version(model: *const Model) -> *const c_char;
    pub fn edgernn_check(model: *const Model, folder: *const c_char,
        differences: *mut crate::Differences, error: *mut Error) -> c_int;

    pub fn edgernn_vocabulary_size(model: *const Model) -> usize;
    pub fn edgernn_symbol(model: *const Model, id: i64) -> *const c_char;
    pub fn edgernn_encode(model: *const Model, text: *const c_char, size: usize, ids: *mut i64,
        capacity: usize, count: *mut usize, error: *mut Error) -> c_int;
    pub fn edgernn_decode(model: *const Model, ids: *const i64, count: usize, text: *mut c_char,
        capacity: usize, size: *mut usize, error: *mut Error) -> c_int;

    pub fn edgernn_stream_open(model: *mut Model, batch: usize, stream: *mut *mut Stream,
        error: *mut Error) -> c_int;
    pub fn edgernn_stream_close(stream: *mut Stream);
    pub fn edgernn_step(stream: *mut Stream, inputs: *const Tensor, count: usize,
        outputs: *mut *const Tensor, output_count: *mut usize, error: *mut Error) -> c_int;
    pub fn edgernn_feed(stream: *mut Stream, inputs: *const Tensor, count: usize,
        outputs: *mut *const Tensor, output_count: *mut usize, error: *mut Error) -> c_int;
    pub fn edgernn_finish(stream: *mut Stream, inputs: *const Tensor, count: usize,
        outputs: *mut *const Tensor, output_count: *mut usize, error: *mut Error) -> c_int;
    pub fn edgernn_run(stream: *mut Stream, inputs: *const Tensor, count: usize,
        outputs: *mut *const Tensor, output_count: *mut usize, error: *mut Error) -> c_int;
    pub fn edgernn_reset(stream: *mut Stream);
    pub fn edgernn_steps(stream: *const Stream) -> u64;
    pub fn edgernn_rest(stream: *const Stream) -> usize;
    pub fn edgernn_snapshot_size(stream: *const Stream) -> usize;
    pub fn edgernn_snapshot(stream: *const Stream, buffer: *mut c_void, size: usize,
        error: *mut Error) -> c_int;
    pub fn edgernn_restore(stream: *mut Stream, snapshot: *const c_void, size: usize,
        error: *mut Error) -> c_int;
    pub fn edgernn_state(stream: *mut Stream, name: *const c_char, value: *mut *const Tensor,
        error: *mut Error) -> c_int;
    pub fn edgernn_set_state(stream: *mut Stream, value: *const Tensor,
        error: *mut Error) -> c_int;
}
