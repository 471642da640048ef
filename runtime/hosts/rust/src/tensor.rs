//! Arrays: what a call reads, and what it returns.

use std::fmt;
use std::ops::{Deref, Index};
use std::os::raw::c_void;

use crate::{ffi, slice, text, Error};

/// A number of 16 bits, IEEE 754 binary16, by its bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct F16(pub u16);

impl From<f32> for F16 {
    /// Round to the nearest number, of two as near to the even one.
    fn from(number: f32) -> Self {
        let (bits, size) = (number.to_bits(), f64::from(number.abs()));
        let sign = (bits >> 16 & 0x8000) as u16;
        if size.is_nan() || size >= 65520.0 {
            return F16(sign | if size.is_nan() { 0x7E00 } else { 0x7C00 });
        }
        // Below an exponent of -13, the distance of numbers is the same.
        let exponent = ((bits >> 23 & 255) as i32 - 126).max(-13);
        let far = 2_f64.powi(52); // where the distance of numbers is 1
        let units = size * 2_f64.powi(11 - exponent) + far - far;
        F16(sign | ((exponent + 13) * 1024 + units as i32) as u16)
    }
}

impl From<F16> for f32 {
    fn from(number: F16) -> Self {
        let (exponent, fraction) = (i32::from(number.0 >> 10 & 31), f32::from(number.0 & 1023));
        let size = match exponent {
            31 if fraction > 0.0 => f32::NAN,
            31 => f32::INFINITY,
            0 => fraction * 2_f32.powi(-24),
            _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
        };
        size.copysign(if number.0 & 0x8000 == 0 { 1.0 } else { -1.0 })
    }
}

/// The types of elements, by ONNX's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
#[repr(i32)]
pub enum Dtype {
    Float32 = 1,
    Uint8 = 2,
    Int8 = 3,
    Uint16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    Bool = 9,
    Float16 = 10,
    Float64 = 11,
    Uint32 = 12,
    Uint64 = 13,
}

const DTYPES: [(Dtype, &str); 12] = [
    (Dtype::Float32, "float32"),
    (Dtype::Uint8, "uint8"),
    (Dtype::Int8, "int8"),
    (Dtype::Uint16, "uint16"),
    (Dtype::Int16, "int16"),
    (Dtype::Int32, "int32"),
    (Dtype::Int64, "int64"),
    (Dtype::Bool, "bool"),
    (Dtype::Float16, "float16"),
    (Dtype::Float64, "float64"),
    (Dtype::Uint32, "uint32"),
    (Dtype::Uint64, "uint64"),
];

impl Dtype {
    pub(crate) fn from_number(number: i32) -> Dtype {
        let found = DTYPES.iter().find(|(dtype, _)| *dtype as i32 == number);
        found.expect("the core has these dtypes only").0
    }
}

impl fmt::Display for Dtype {
    /// Write the name as messages have it, `float32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = DTYPES.iter().find(|(dtype, _)| dtype == self);
        f.write_str(found.map_or("", |(_, name)| name))
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A type of elements: the numbers of Rust, `bool` and [`F16`].
pub trait Element: sealed::Sealed + Copy {
    /// Its dtype.
    const DTYPE: Dtype;
}

macro_rules! elements {
    ($($element:ty = $dtype:ident),*) => {$(
        impl sealed::Sealed for $element {}
        impl Element for $element {
            const DTYPE: Dtype = Dtype::$dtype;
        }
    )*};
}

elements!(f32 = Float32, f64 = Float64, F16 = Float16, bool = Bool);
elements!(i8 = Int8, i16 = Int16, i32 = Int32, i64 = Int64);
elements!(u8 = Uint8, u16 = Uint16, u32 = Uint32, u64 = Uint64);

/// An array that a call reads, borrowed from the caller.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) dtype: Dtype,
    pub(crate) data: *const c_void,
    pub(crate) count: usize,
    pub(crate) shape: Option<&'a [i64]>,
    _elements: std::marker::PhantomData<&'a [u8]>,
}

impl<'a> Input<'a> {
    /// Elements in row-major order for an input or state by its name, with their shape.
    pub fn new<T: Element>(name: &'a str, data: &'a [T], shape: &'a [i64]) -> Self {
        let mut input = Input::named(name, data);
        input.shape = Some(shape);
        input
    }

    /// Elements for an input or state by its name; the shape follows from its port.
    pub fn named<T: Element>(name: &'a str, data: &'a [T]) -> Self {
        let mut input = Input::from(data);
        input.name = Some(name);
        input
    }

    /// The same elements with this shape.
    pub fn with_shape(mut self, shape: &'a [i64]) -> Self {
        self.shape = Some(shape);
        self
    }

    /// Return the shape, after a check that the elements fill it: the core reads as many.
    pub(crate) fn filled_shape(&self) -> Result<Option<&'a [i64]>, Error> {
        let shape = self.shape.unwrap_or(&[]);
        let mut sizes = shape.iter().map(|&size| usize::try_from(size).ok());
        let product = sizes.try_fold(1_usize, |product, size| product.checked_mul(size?));
        if self.shape.is_none() || product == Some(self.count) {
            return Ok(self.shape);
        }
        Err(Error::input(format!(
            "`{}` came with {} elements, which do not fill its shape, {shape:?}. Give a shape whose \
             product is the number of elements.",
            self.name.unwrap_or("input"),
            self.count
        )))
    }
}

/// Elements for the only data input of a model; the shape follows from its port.
impl<'a, T: Element> From<&'a [T]> for Input<'a> {
    fn from(data: &'a [T]) -> Self {
        Input {
            name: None,
            dtype: T::DTYPE,
            data: data.as_ptr().cast(),
            count: data.len(),
            shape: None,
            _elements: std::marker::PhantomData,
        }
    }
}

/// What a call takes: elements for the only data input (`&x`), or several inputs
/// (`[Input::named("ids", &ids), Input::named("x", &x)]`).
pub trait Inputs {
    /// Call a function with all inputs.
    fn with<R>(&self, function: impl FnOnce(&[Input<'_>]) -> R) -> R;
}

impl<T: Element> Inputs for &[T] {
    fn with<R>(&self, function: impl FnOnce(&[Input<'_>]) -> R) -> R {
        function(&[Input::from(*self)])
    }
}

impl<T: Element, const N: usize> Inputs for &[T; N] {
    fn with<R>(&self, function: impl FnOnce(&[Input<'_>]) -> R) -> R {
        function(&[Input::from(self.as_slice())])
    }
}

impl<T: Element> Inputs for &Vec<T> {
    fn with<R>(&self, function: impl FnOnce(&[Input<'_>]) -> R) -> R {
        function(&[Input::from(self.as_slice())])
    }
}

impl Inputs for Input<'_> {
    fn with<R>(&self, function: impl FnOnce(&[Input<'_>]) -> R) -> R {
        function(&[*self])
    }
}

impl<const N: usize> Inputs for [Input<'_>; N] {
    fn with<R>(&self, function: impl FnOnce(&[Input<'_>]) -> R) -> R {
        function(self)
    }
}

impl Inputs for &[Input<'_>] {
    fn with<R>(&self, function: impl FnOnce(&[Input<'_>]) -> R) -> R {
        function(self)
    }
}

/// An array that a call returned, borrowed from its stream.
#[repr(transparent)]
pub struct Output(ffi::Tensor);

impl Output {
    /// The name of the output, or of the input of a state.
    pub fn name(&self) -> &str {
        // SAFETY: the core returns tensors with names.
        unsafe { text(self.0.name) }.unwrap_or("")
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        Dtype::from_number(self.0.dtype)
    }

    /// The size of each axis.
    pub fn shape(&self) -> &[i64] {
        // SAFETY: the core returns tensors with as many sizes as axes.
        unsafe { slice(self.0.shape, self.0.rank) }
    }

    /// Whether it has a value yet; see [`Port::delay`](crate::Port::delay).
    pub fn is_defined(&self) -> bool {
        !self.0.data.is_null()
    }

    /// The number of elements; 0 where the output is not defined yet.
    pub fn count(&self) -> usize {
        if !self.is_defined() {
            return 0;
        }
        self.shape().iter().map(|&size| size as usize).product()
    }

    /// Return the elements in row-major order, none where the output is not defined yet.
    ///
    /// # Errors
    /// Kind input: `T` is not the type of the elements.
    pub fn data<T: Element>(&self) -> Result<&[T], Error> {
        if T::DTYPE as i32 != self.0.dtype {
            return Err(Error::input(format!(
                "`{}` has elements of {1}, but they were read as {2}. Read them as {1}.",
                self.name(),
                self.dtype(),
                T::DTYPE
            )));
        }
        // SAFETY: the core returns as many elements of its dtype, aligned, as the shape says.
        let bytes: &[u8] = unsafe { slice(self.0.data.cast(), self.count()) };
        if T::DTYPE == Dtype::Bool && bytes.iter().any(|&byte| byte > 1) {
            let message = format!(
                "`{}` is bool, but has a byte that is not 0 or 1.",
                self.name()
            );
            return Err(Error::contract(message));
        }
        // SAFETY: the same, and every byte of a bool is one.
        Ok(unsafe { slice(self.0.data.cast(), self.count()) })
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{:?}", self.name(), self.dtype(), self.shape())
    }
}

/// The outputs of a call in the order of the graph, borrowed from the stream: a slice, and found by
/// name as well, `outputs["score"]`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Outputs([Output]);

impl Outputs {
    /// # Safety
    /// `tensors` is NULL or the first of `count` tensors, which live for `'a`.
    pub(crate) unsafe fn new<'a>(tensors: *const ffi::Tensor, count: usize) -> &'a Self {
        let outputs: &'a [Output] = slice(tensors.cast(), count);
        &*(outputs as *const [Output] as *const Outputs)
    }

    /// Return an output by its name.
    pub fn find(&self, name: &str) -> Option<&Output> {
        self.0.iter().find(|output| output.name() == name)
    }
}

impl Deref for Outputs {
    type Target = [Output];

    fn deref(&self) -> &[Output] {
        &self.0
    }
}

impl Index<usize> for Outputs {
    type Output = Output;

    fn index(&self, place: usize) -> &Output {
        &self.0[place]
    }
}

impl Index<&str> for Outputs {
    type Output = Output;

    fn index(&self, name: &str) -> &Output {
        let found = self.find(name);
        found.unwrap_or_else(|| panic!("there is no output `{name}` among {:?}", &self.0))
    }
}
