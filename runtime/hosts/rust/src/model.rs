//! An artifact that is open.

use std::ffi::CString;
use std::os::raw::{c_char, c_int};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use crate::{c_string, check, ffi, slice, text, Dtype, Error, Stream};

/// The graphs of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graph {
    /// Chunks of any length.
    Sequence = 0,
    /// One step, or one hop where the model takes several steps at a time.
    Step = 1,
}

/// The largest differences of a model from its golden run, NaN where a way does not apply.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Differences {
    /// The whole sequence in one call.
    pub whole: f64,
    /// By chunks.
    pub chunks: f64,
    /// By steps.
    pub steps: f64,
    /// A control, which must differ: by steps, each from the initial state.
    pub without_state: f64,
}

/// An input or output of a graph.
#[derive(Clone, Debug)]
pub struct Port<'model> {
    /// The name.
    pub name: &'model str,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The size of each axis, -1 where it varies.
    pub shape: &'model [i64],
    /// The name of each axis, `batch`, `sequence` or `hop`; empty where it has none.
    pub axes: Vec<&'model str>,
    /// Ids are less than it; 0 where there is no limit.
    pub limit: i64,
    /// The first steps of an output in a sequence that are not defined; they are left out.
    pub delay: i64,
    /// The steps of an output that come only from [`Stream::finish`].
    pub tail: i64,
    /// Whether it is an input or output of a state.
    pub is_state: bool,
    /// Whether it is an input that holds the number of steps of each sequence.
    pub is_lengths: bool,
}

/// How a model is opened; as it is by default, one thread on the CPU.
///
/// ```no_run
/// # fn main() -> Result<(), edgernn::Error> {
/// let options = edgernn::Options { threads: 2, ..Default::default() };
/// let model = options.open("model.edgernn")?;
/// # let _ = model; Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    /// The path or name of ONNX Runtime's shared library; by default `$ONNXRUNTIME_LIBRARY`, then a
    /// library of the usual name beside the program, then where the system's loader looks.
    pub library: Option<&'a str>,
    /// `cpu`, or another provider with its options, as `cuda:device_id=1`.
    pub provider: Option<&'a str>,
    /// How many threads run one call; 0 is 1.
    pub threads: i32,
}

impl Options<'_> {
    /// Open an artifact's folder, or one of its graphs, an .onnx file.
    ///
    /// # Errors
    /// Kind contract: it is no artifact; kind provider: ONNX Runtime does not run it.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Model, Error> {
        let path = path_string(path.as_ref())?;
        self.open_with(|options, model, error| {
            // SAFETY: all pointers are valid during the call.
            unsafe { ffi::edgernn_open(path.as_ptr(), options, model, error) }
        })
    }

    /// Open graphs that are in memory; either may be empty.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open_memory(&self, sequence: &[u8], step: &[u8]) -> Result<Model, Error> {
        self.open_with(|options, model, error| {
            let (sequence_data, step_data) = (sequence.as_ptr().cast(), step.as_ptr().cast());
            let (sequence_size, step_size) = (sequence.len(), step.len());
            // SAFETY: all pointers are valid during the call.
            unsafe {
                ffi::edgernn_open_memory(
                    sequence_data,
                    sequence_size,
                    step_data,
                    step_size,
                    options,
                    model,
                    error,
                )
            }
        })
    }

    fn open_with(
        &self,
        open: impl FnOnce(*const ffi::Options, *mut *mut ffi::Model, *mut ffi::Error) -> c_int,
    ) -> Result<Model, Error> {
        let library = self
            .library
            .map(|name| c_string("Library", name))
            .transpose()?;
        let provider = self
            .provider
            .map(|name| c_string("Provider", name))
            .transpose()?;
        let options = ffi::Options {
            library: or_null(&library),
            api_base: ptr::null(),
            provider: or_null(&provider),
            threads: self.threads,
        };
        let mut model = ptr::null_mut();
        check(|error| open(&options, &mut model, error))?;
        Ok(Model(Arc::new(Handle(model))))
    }
}

/// A model of the core, closed with the last that uses it.
pub(crate) struct Handle(pub(crate) *mut ffi::Model);

// SAFETY: a model of the core never changes; any number of threads may use it.
unsafe impl Send for Handle {}
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: it was opened, and is closed once.
        unsafe { ffi::edgernn_close(self.0) }
    }
}

/// An artifact that is open; it never changes. A clone is the same model.
#[derive(Clone)]
pub struct Model(pub(crate) Arc<Handle>);

impl Model {
    /// Open an artifact's folder, or one of its graphs, on the CPU with one thread.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Model, Error> {
        Options::default().open(path)
    }

    /// Open a stream, one running state for `batch` sequences side by side.
    ///
    /// # Errors
    /// Kind input: `batch` is 0, or not the constant batch of the model.
    pub fn stream(&self, batch: usize) -> Result<Stream, Error> {
        Stream::open(self.clone(), batch)
    }

    pub(crate) fn raw(&self) -> *mut ffi::Model {
        self.0 .0
    }

    /// Whether the model has such a graph.
    pub fn has(&self, graph: Graph) -> bool {
        // SAFETY: the model is open; this holds for each call below.
        unsafe { ffi::edgernn_has_graph(self.raw(), graph as c_int) }
    }

    /// The inputs of a graph in its order, states included; none without the graph.
    pub fn inputs(&self, graph: Graph) -> Vec<Port<'_>> {
        let count = unsafe { ffi::edgernn_input_count(self.raw(), graph as c_int) };
        let raw = |place| unsafe { &*ffi::edgernn_input(self.raw(), graph as c_int, place) };
        (0..count).map(|place| port(raw(place))).collect()
    }

    /// The outputs of a graph in its order, states included; none without the graph.
    pub fn outputs(&self, graph: Graph) -> Vec<Port<'_>> {
        let count = unsafe { ffi::edgernn_output_count(self.raw(), graph as c_int) };
        let raw = |place| unsafe { &*ffi::edgernn_output(self.raw(), graph as c_int, place) };
        (0..count).map(|place| port(raw(place))).collect()
    }

    /// The entry `edgernn.KEY` of the graphs' metadata, as `sample_rate`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let key = CString::new(key).ok()?;
        unsafe { text(ffi::edgernn_metadata(self.raw(), key.as_ptr())) }
    }

    /// The steps of the input that one call of [`Stream::step`] takes.
    pub fn hop(&self) -> usize {
        unsafe { ffi::edgernn_hop(self.raw()) }
    }

    /// Whether a state goes from chunk to chunk; otherwise only [`Stream::run`] runs the model.
    pub fn carries(&self) -> bool {
        unsafe { ffi::edgernn_carries(self.raw()) }
    }

    /// The provider that runs the nodes, as `cpu`.
    pub fn provider(&self) -> &str {
        unsafe { text(ffi::edgernn_provider(self.raw())) }.unwrap_or("")
    }

    /// The version of ONNX Runtime.
    pub fn onnxruntime_version(&self) -> &str {
        unsafe { text(ffi::edgernn_onnxruntime_version(self.raw())) }.unwrap_or("")
    }

    /// The number of symbols; 0 where the model has no vocabulary.
    pub fn vocabulary_size(&self) -> usize {
        unsafe { ffi::edgernn_vocabulary_size(self.raw()) }
    }

    /// The symbol of an id, none for an id that is not in the vocabulary.
    pub fn symbol(&self, id: i64) -> Option<&str> {
        unsafe { text(ffi::edgernn_symbol(self.raw(), id)) }
    }

    /// Return the ids of a text.
    ///
    /// # Errors
    /// Kind input: there is no vocabulary, or something in the text is not in it.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, Error> {
        let mut ids = vec![0; text.len()]; // at most one for each byte
        let (mut count, capacity) = (0, ids.len());
        let (data, ids_data) = (text.as_ptr().cast(), ids.as_mut_ptr());
        check(|error| unsafe {
            ffi::edgernn_encode(
                self.raw(),
                data,
                text.len(),
                ids_data,
                capacity,
                &mut count,
                error,
            )
        })?;
        ids.truncate(count);
        Ok(ids)
    }

    /// Return the text of ids; padding is left out.
    ///
    /// # Errors
    /// Kind input: there is no vocabulary, or an id is not in it.
    pub fn decode(&self, ids: &[i64]) -> Result<String, Error> {
        let mut size = 0;
        let mut decode = |text: &mut [u8]| {
            let (data, capacity) = (text.as_mut_ptr().cast(), text.len());
            check(|error| unsafe {
                let (first, count) = (ids.as_ptr(), ids.len());
                ffi::edgernn_decode(self.raw(), first, count, data, capacity, &mut size, error)
            })?;
            Ok(size)
        };
        let mut bytes = vec![0; decode(&mut [])? + 1];
        let size = decode(&mut bytes)?;
        bytes.truncate(size);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Replay the golden run: that of the artifact's folder, or of another one.
    ///
    /// # Errors
    /// Kind contract: there is no golden run, or it is not one of this model.
    pub fn check(&self, folder: Option<&Path>) -> Result<Differences, Error> {
        let folder = folder.map(path_string).transpose()?;
        let mut differences = Differences {
            whole: f64::NAN,
            chunks: f64::NAN,
            steps: f64::NAN,
            without_state: f64::NAN,
        };
        check(|error| unsafe {
            ffi::edgernn_check(self.raw(), or_null(&folder), &mut differences, error)
        })?;
        Ok(differences)
    }
}

fn or_null(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(ptr::null(), |text| text.as_ptr())
}

/// Return a path as the core takes it, in UTF-8 or the system's bytes.
fn path_string(path: &Path) -> Result<CString, Error> {
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    #[cfg(not(unix))]
    let bytes = path.to_string_lossy().into_owned().into_bytes();
    CString::new(bytes).map_err(|_| {
        Error::input(format!(
            "Path `{}` has a NUL in it. Give a path without one.",
            path.display()
        ))
    })
}

fn port(raw: &ffi::Port) -> Port<'_> {
    // SAFETY: a port of the core has a name, and as many sizes and names of axes as axes; they live
    // as long as the model.
    unsafe {
        Port {
            name: text(raw.name).unwrap_or(""),
            dtype: Dtype::from_number(raw.dtype),
            shape: slice(raw.shape, raw.rank),
            axes: slice(raw.axes, raw.rank)
                .iter()
                .map(|&axis| text(axis).unwrap_or(""))
                .collect(),
            limit: raw.limit,
            delay: raw.delay,
            tail: raw.tail,
            is_state: raw.is_state,
            is_lengths: raw.is_lengths,
        }
    }
}
