//! Drive the Rust host: one command a line, one answer a line. tests/hosts/host_drivers.py has the
//! protocol.

use std::io::{self, BufRead, Write};
use std::path::Path;

use edgernn::{Element, Error, Input, Model, Options, Output, Outputs, Stream, F16};

fn main() -> io::Result<()> {
    let mut driver = Driver::default();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let answer = match driver.answer(words[0], &words[1..]) {
            Ok(text) if text.is_empty() => "ok".to_string(),
            Ok(text) => format!("ok {text}"),
            Err(error) => format!("error {} {error}", error.kind()),
        };
        println!("{answer}");
        io::stdout().flush()?;
    }
    Ok(())
}

#[derive(Default)]
struct Driver {
    model: Option<Model>,
    stream: Option<Stream>,
}

impl Driver {
    fn answer(&mut self, command: &str, words: &[&str]) -> Result<String, Error> {
        let word = words.first().copied().unwrap_or("");
        match command {
            "open" => {
                let provider = words.get(1).copied();
                let options = Options {
                    provider,
                    ..Default::default()
                };
                self.model = Some(options.open(word)?);
            }
            "open_memory" => {
                let read = |name: &str| std::fs::read(Path::new(word).join(name));
                let (sequence, step) = (read("sequence.onnx"), read("step.onnx"));
                let sequence = sequence.unwrap_or_default();
                let step = step.unwrap_or_default();
                self.model = Some(Options::default().open_memory(&sequence, &step)?);
            }
            "stream" => self.stream = Some(self.model().stream(word.parse().unwrap())?),
            "close" => (self.model, self.stream) = (None, None),
            "facts" | "metadata" | "encode" | "decode" | "check" => {
                return ask_model(self.model(), command, word, words)
            }
            _ => return ask_stream(self.stream.as_mut().expect("a stream"), command, words),
        }
        Ok(String::new())
    }

    fn model(&self) -> &Model {
        self.model.as_ref().expect("a model")
    }
}

fn ask_model(model: &Model, command: &str, word: &str, words: &[&str]) -> Result<String, Error> {
    Ok(match command {
        "facts" => format!(
            "hop={} carries={} vocabulary={} provider={}",
            model.hop(),
            model.carries(),
            model.vocabulary_size(),
            model.provider()
        ),
        "metadata" => model.metadata(word).unwrap_or("").to_string(),
        "encode" => {
            let text = String::from_utf8(from_hex(word)).expect("UTF-8");
            let ids: Vec<String> = model.encode(&text)?.iter().map(i64::to_string).collect();
            ids.join(" ")
        }
        "decode" => {
            let ids: Vec<i64> = words.iter().map(|id| id.parse().unwrap()).collect();
            to_hex(model.decode(&ids)?.as_bytes())
        }
        _ => {
            let found = model.check((!word.is_empty()).then(|| Path::new(word)))?;
            let ways = [found.whole, found.chunks, found.steps, found.without_state];
            ways.map(|value| format!("{value:.8e}")).join(" ")
        }
    })
}

fn ask_stream(stream: &mut Stream, command: &str, words: &[&str]) -> Result<String, Error> {
    let word = words.first().copied().unwrap_or("");
    match command {
        "reset" => stream.reset(),
        "counts" => return Ok(format!("{} {}", stream.steps(), stream.rest())),
        "snapshot" => return Ok(to_hex(&stream.snapshot()?)),
        "restore" => stream.restore(&from_hex(word))?,
        "state" => return write_output(stream.state(word)?),
        _ => {
            let tensors: Vec<Tensor> = words.iter().map(|word| Tensor::read(word)).collect();
            let inputs: Vec<Input> = tensors.iter().map(Tensor::input).collect();
            let inputs = inputs.as_slice();
            return match command {
                "set_state" => stream.set_state(inputs[0]).map(|()| String::new()),
                "step" => write_outputs(stream.step(inputs)?),
                "feed" => write_outputs(stream.feed(inputs)?),
                "finish" => write_outputs(stream.finish(inputs)?),
                "run" => write_outputs(stream.run(inputs)?),
                _ => panic!("`{command}` is not a command"),
            };
        }
    }
    Ok(String::new())
}

/// The elements of a tensor, in the memory of their type.
enum Elements {
    F32(Vec<f32>),
    F64(Vec<f64>),
    F16(Vec<F16>),
    Bool(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
}

/// A tensor of a command, `NAME:DTYPE:SHAPE:HEX`.
struct Tensor<'a> {
    name: &'a str,
    shape: Vec<i64>,
    elements: Elements,
}

/// Return the numbers of some bytes.
macro_rules! numbers {
    ($type:ty, $bytes:expr) => {
        $bytes
            .chunks_exact(std::mem::size_of::<$type>())
            .map(|chunk| <$type>::from_ne_bytes(chunk.try_into().unwrap()))
            .collect()
    };
}

impl<'a> Tensor<'a> {
    fn read(word: &'a str) -> Self {
        let mut parts = word.rsplitn(4, ':');
        let bytes = from_hex(parts.next().unwrap());
        let sizes = parts.next().unwrap().split(',');
        let shape = sizes
            .filter(|size| !size.is_empty())
            .map(|size| size.parse().unwrap());
        let shape = shape.collect();
        let elements = match parts.next().unwrap() {
            "float32" => Elements::F32(numbers!(f32, bytes)),
            "float64" => Elements::F64(numbers!(f64, bytes)),
            "float16" => {
                let bits: Vec<u16> = numbers!(u16, bytes);
                Elements::F16(bits.into_iter().map(F16).collect())
            }
            "bool" => Elements::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
            "int8" => Elements::I8(numbers!(i8, bytes)),
            "int16" => Elements::I16(numbers!(i16, bytes)),
            "int32" => Elements::I32(numbers!(i32, bytes)),
            "int64" => Elements::I64(numbers!(i64, bytes)),
            "uint8" => Elements::U8(bytes),
            "uint16" => Elements::U16(numbers!(u16, bytes)),
            "uint32" => Elements::U32(numbers!(u32, bytes)),
            _ => Elements::U64(numbers!(u64, bytes)),
        };
        Tensor {
            name: parts.next().unwrap(),
            shape,
            elements,
        }
    }

    fn input(&self) -> Input<'_> {
        match &self.elements {
            Elements::F32(data) => self.view(data),
            Elements::F64(data) => self.view(data),
            Elements::F16(data) => self.view(data),
            Elements::Bool(data) => self.view(data),
            Elements::I8(data) => self.view(data),
            Elements::I16(data) => self.view(data),
            Elements::I32(data) => self.view(data),
            Elements::I64(data) => self.view(data),
            Elements::U8(data) => self.view(data),
            Elements::U16(data) => self.view(data),
            Elements::U32(data) => self.view(data),
            Elements::U64(data) => self.view(data),
        }
    }

    fn view<'b, T: Element>(&'b self, data: &'b [T]) -> Input<'b> {
        if self.name.is_empty() {
            return Input::from(data).with_shape(&self.shape);
        }
        Input::new(self.name, data, &self.shape)
    }
}

fn write_output(output: &Output) -> Result<String, Error> {
    let sizes: Vec<String> = output.shape().iter().map(i64::to_string).collect();
    let data = if output.is_defined() {
        to_hex(&bytes_of(output)?)
    } else {
        "-".to_string()
    };
    Ok(format!(
        "{}:{}:{}:{data}",
        output.name(),
        output.dtype(),
        sizes.join(",")
    ))
}

fn write_outputs(outputs: &Outputs) -> Result<String, Error> {
    let texts: Result<Vec<String>, Error> = outputs.iter().map(write_output).collect();
    Ok(texts?.join(" "))
}

fn bytes_of(output: &Output) -> Result<Vec<u8>, Error> {
    use edgernn::Dtype::*;
    macro_rules! bytes {
        ($type:ty) => {
            output
                .data::<$type>()?
                .iter()
                .flat_map(|number| number.to_ne_bytes())
                .collect()
        };
    }
    Ok(match output.dtype() {
        Float32 => bytes!(f32),
        Float64 => bytes!(f64),
        Float16 => output
            .data::<F16>()?
            .iter()
            .flat_map(|half| half.0.to_ne_bytes())
            .collect(),
        Bool => output
            .data::<bool>()?
            .iter()
            .map(|&value| value.into())
            .collect(),
        Int8 => bytes!(i8),
        Int16 => bytes!(i16),
        Int32 => bytes!(i32),
        Int64 => bytes!(i64),
        Uint8 => bytes!(u8),
        Uint16 => bytes!(u16),
        Uint32 => bytes!(u32),
        Uint64 => bytes!(u64),
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
