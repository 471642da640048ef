//! One running state of a model.

use std::ffi::{CStr, CString};
use std::os::raw::c_int;
use std::ptr;

use crate::{
    c_string, check, ffi, slice, text, Error, Graph, Input, Inputs, Model, Output, Outputs,
};

/// One running state of a model; [`Model::stream`] opens it.
///
/// It keeps its model open. Outputs borrow from it: they live until its next call.
pub struct Stream {
    raw: *mut ffi::Stream,
    model: Model,
    batch: usize,
    tensors: Vec<ffi::Tensor>,
    shapes: Vec<i64>,
    names: Vec<CString>, // those that no port has
}

// SAFETY: a stream of the core may be used by any thread, by one at a time.
unsafe impl Send for Stream {}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: it was opened, and is closed once.
        unsafe { ffi::edgernn_stream_close(self.raw) }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Step,
    Chunk,
}

impl Stream {
    pub(crate) fn open(model: Model, batch: usize) -> Result<Stream, Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the model is open.
        check(|error| unsafe { ffi::edgernn_stream_open(model.raw(), batch, &mut raw, error) })?;
        let (tensors, shapes, names) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Stream {
            raw,
            model,
            batch,
            tensors,
            shapes,
            names,
        })
    }

    /// Run one step, or one hop where the model takes several steps at a time.
    ///
    /// An input without a shape takes that of its port, for the batch of the stream.
    ///
    /// # Errors
    /// Kind input: an input is not what the model takes, the sequence has ended, or steps are kept
    /// that do not fill a hop; kind provider: ONNX Runtime failed.
    pub fn step(&mut self, inputs: impl Inputs) -> Result<&Outputs, Error> {
        inputs.with(|inputs| self.call(ffi::edgernn_step, Call::Step, inputs))
    }

    /// Run a chunk of any number of steps, exactly as the same steps one by one.
    ///
    /// In an input without a shape, the number of steps follows from the number of elements.
    ///
    /// # Errors
    /// As [`Stream::step`].
    pub fn feed(&mut self, inputs: impl Inputs) -> Result<&Outputs, Error> {
        inputs.with(|inputs| self.call(ffi::edgernn_feed, Call::Chunk, inputs))
    }

    /// End the sequence, and return the steps of outputs that come only then. `inputs` are those
    /// without steps: `[]` in most models.
    ///
    /// # Errors
    /// As [`Stream::step`].
    pub fn finish(&mut self, inputs: impl Inputs) -> Result<&Outputs, Error> {
        inputs.with(|inputs| self.call(ffi::edgernn_finish, Call::Chunk, inputs))
    }

    /// Run whole sequences from the initial state; the stream's own sequence is dropped.
    ///
    /// # Errors
    /// As [`Stream::step`].
    pub fn run(&mut self, inputs: impl Inputs) -> Result<&Outputs, Error> {
        inputs.with(|inputs| self.call(ffi::edgernn_run, Call::Chunk, inputs))
    }

    /// Return to the initial state.
    pub fn reset(&mut self) {
        // SAFETY: the stream is open; this holds for each call below.
        unsafe { ffi::edgernn_reset(self.raw) }
    }

    /// The number of sequences side by side.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The steps that were run since the stream was opened or reset.
    pub fn steps(&self) -> u64 {
        unsafe { ffi::edgernn_steps(self.raw) }
    }

    /// The steps that are kept until they fill a hop.
    pub fn rest(&self) -> usize {
        unsafe { ffi::edgernn_rest(self.raw) }
    }

    /// Return all that the stream needs to go on from here, to be stored and restored later.
    ///
    /// # Errors
    /// Kind memory: there is none.
    pub fn snapshot(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; unsafe { ffi::edgernn_snapshot_size(self.raw) }];
        let (data, size) = (bytes.as_mut_ptr().cast(), bytes.len());
        check(|error| unsafe { ffi::edgernn_snapshot(self.raw, data, size, error) })?;
        Ok(bytes)
    }

    /// Continue from a snapshot of a stream of the same artifact and batch.
    ///
    /// # Errors
    /// Kind state: it is damaged, or of another artifact or batch.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), Error> {
        let (data, size) = (snapshot.as_ptr().cast(), snapshot.len());
        check(|error| unsafe { ffi::edgernn_restore(self.raw, data, size, error) })
    }

    /// Return the value of a state by the name of its input, as `h_in`.
    ///
    /// # Errors
    /// Kind state: there is no such state.
    pub fn state(&mut self, name: &str) -> Result<&Output, Error> {
        let name = c_string("State", name)?;
        let mut value = ptr::null();
        check(|error| unsafe { ffi::edgernn_state(self.raw, name.as_ptr(), &mut value, error) })?;
        // SAFETY: the value lives until the next call of the stream, which it borrows.
        Ok(unsafe { &Outputs::new(value, 1)[0] })
    }

    /// Set a state: `stream.set_state(Input::named("h_in", &values))`.
    ///
    /// # Errors
    /// Kind state: the name, dtype, shape or a value is not the state's.
    pub fn set_state(&mut self, value: Input<'_>) -> Result<(), Error> {
        self.fill(Call::Step, &[value])?;
        let value = self.tensors.as_ptr();
        check(|error| unsafe { ffi::edgernn_set_state(self.raw, value, error) })
    }

    fn call(&mut self, call: ffi::Call, kind: Call, inputs: &[Input]) -> Result<&Outputs, Error> {
        self.fill(kind, inputs)?;
        let (tensors, count) = (self.tensors.as_ptr(), inputs.len());
        let (mut outputs, mut output_count) = (ptr::null(), 0);
        // SAFETY: each tensor has the elements of its shape, and lives during the call.
        check(|error| unsafe {
            call(
                self.raw,
                tensors,
                count,
                &mut outputs,
                &mut output_count,
                error,
            )
        })?;
        // SAFETY: the outputs live until the next call of the stream, which they borrow.
        Ok(unsafe { Outputs::new(outputs, output_count) })
    }

    /// Write the inputs as the core takes them. The memory is kept from call to call.
    fn fill(&mut self, kind: Call, inputs: &[Input]) -> Result<(), Error> {
        let Stream {
            model,
            batch,
            tensors,
            shapes,
            names,
            ..
        } = self;
        tensors.clear();
        shapes.clear();
        names.clear();
        for input in inputs {
            let port = find(model, kind, input.name);
            let start = shapes.len();
            match input.filled_shape()? {
                Some(shape) => shapes.extend_from_slice(shape),
                None => infer(model, kind, port, *batch, input.count, shapes),
            }
            let name = match (input.name, port) {
                (None, _) => ptr::null(),
                (_, Some(port)) => port.name,
                (Some(name), None) => {
                    names.push(c_string("Input", name)?);
                    names[names.len() - 1].as_ptr()
                }
            };
            let (dtype, rank, data) = (input.dtype as i32, shapes.len() - start, input.data);
            tensors.push(ffi::Tensor {
                name,
                dtype,
                rank,
                shape: ptr::null(),
                data,
            });
        }
        let mut start = 0;
        for tensor in tensors {
            tensor.shape = shapes[start..].as_ptr();
            start += tensor.rank;
        }
        Ok(())
    }
}

/// Return the graph whose ports a call takes, and whether the call's own graph is missing.
fn graph_of(model: &Model, kind: Call) -> (Graph, bool) {
    match kind {
        Call::Step if !model.has(Graph::Step) => (Graph::Sequence, true),
        Call::Step => (Graph::Step, false),
        Call::Chunk if !model.has(Graph::Sequence) => (Graph::Step, true),
        Call::Chunk => (Graph::Sequence, false),
    }
}

/// Find the port of an input or state by its name; without one, that of the data input.
fn find<'model>(model: &'model Model, kind: Call, name: Option<&str>) -> Option<&'model ffi::Port> {
    let graph = graph_of(model, kind).0 as c_int;
    // SAFETY: the model is open, and its ports have names.
    unsafe {
        let count = ffi::edgernn_input_count(model.raw(), graph);
        let mut ports = (0..count).map(|place| &*ffi::edgernn_input(model.raw(), graph, place));
        ports.find(|port| match name {
            Some(name) => CStr::from_ptr(port.name).to_bytes() == name.as_bytes(),
            None => !port.is_state && !port.is_lengths,
        })
    }
}

/// Write the shape of an input from that of its port. One axis may vary besides the batch; what fits
/// no port is one axis of all elements, which the core refuses.
fn infer(
    model: &Model,
    kind: Call,
    port: Option<&ffi::Port>,
    batch: usize,
    count: usize,
    shapes: &mut Vec<i64>,
) {
    let start = shapes.len();
    let other = graph_of(model, kind).1;
    let (mut known, mut varying) = (1, None);
    if let Some(port) = port {
        if other && kind == Call::Chunk && !port.is_state && model.hop() == 1 {
            varying = Some(start); // the steps, before the axes of one
            shapes.push(0);
        }
        // SAFETY: a port has as many sizes and names of axes as axes.
        let (sizes, axes) = unsafe { (slice(port.shape, port.rank), slice(port.axes, port.rank)) };
        for (&size, &axis) in sizes.iter().zip(axes) {
            let axis = unsafe { text(axis) }.unwrap_or("");
            if other && kind == Call::Step && axis == "sequence" {
                continue;
            }
            let steps = kind == Call::Chunk && matches!(axis, "sequence" | "hop");
            match size {
                _ if axis == "batch" => known *= batch,
                size if size < 0 || steps => varying = Some(shapes.len()),
                size => known *= size as usize,
            }
            shapes.push(if axis == "batch" { batch as i64 } else { size });
        }
    }
    match varying {
        Some(place) if known > 0 && count % known == 0 => shapes[place] = (count / known) as i64,
        None if port.is_some() && count == known => (),
        _ => {
            shapes.truncate(start);
            shapes.push(count as i64);
        }
    }
}
