//! Run the model of this project.
//!
//!     app         replays the golden run and measures a step; exit status 1 where it differs
//!     app step    answers each line of standard input with a line of outputs
//!
//! A line has the numbers of one step, or of one hop where the model takes several steps at a time:
//! those of each data input in the order of the graph, ids for a token model, separated by commas or
//! white space. The state goes from line to line; an empty line starts a new sequence. Exit status
//! 2: a line that is not one step, or a model that does not open.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use edgernn::{Dtype, Error, Graph, Input, Model, Options, Output, Outputs, Port, F16};

const TOLERANCE: f64 = 1e-5; // edgernn embed: tolerance

const LIBRARY: &str = if cfg!(windows) {
    "lib/onnxruntime.dll"
} else if cfg!(target_vendor = "apple") {
    "lib/libonnxruntime.dylib"
} else {
    "lib/libonnxruntime.so"
};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = match arguments[..] {
        [] => open_model().and_then(|model| check(&model)),
        ["step"] => open_model().and_then(|model| run_lines(&model)),
        _ => Err("usage: app [step]".into()),
    };
    ran.unwrap_or_else(|error| {
        eprintln!("app: {error}");
        ExitCode::from(2)
    })
}

/// Return the folder above this program that holds the model, or the current one.
fn find_project() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let found = program
        .ancestors()
        .find(|folder| folder.join("model.edgernn").exists());
    found.unwrap_or(Path::new(".")).to_path_buf()
}

fn open_model() -> Result<Model, Failure> {
    let project = find_project();
    let library = project.join(LIBRARY).to_string_lossy().into_owned();
    let given = std::env::var_os("ONNXRUNTIME_LIBRARY").is_some();
    let options = Options {
        library: (!given).then_some(&library),
        ..Default::default()
    };
    Ok(options.open(project.join("model.edgernn"))?)
}

/// Replay the golden run, print how far each way is from it, and measure a step.
fn check(model: &Model) -> Result<ExitCode, Failure> {
    let found = model.check(None)?;
    let ways = [
        ("whole", found.whole, TOLERANCE, true),
        ("by chunks", found.chunks, TOLERANCE, true),
        ("by steps", found.steps, TOLERANCE, true),
        (
            "without state",
            found.without_state,
            found.chunks.max(found.steps),
            false,
        ),
    ];
    let mut agrees = true;
    for (way, difference, limit, must_agree) in ways {
        if difference.is_nan() {
            continue; // the model cannot be run in this way
        }
        let right = (difference <= limit) == must_agree;
        agrees &= right;
        let verdict = if right { "" } else { ", WRONG" };
        println!("{way:<14} max difference {difference:.1e}{verdict}");
    }
    let verdict = if agrees { "reproduces" } else { "DIFFERS from" };
    println!("The model {verdict} its golden run; the tolerance is {TOLERANCE:e}.");
    if !found.steps.is_nan() {
        println!("{:<14} {:.1} µs per step", "time", time_step(model)?);
    }
    Ok(if agrees {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Return the time of a step in microseconds: the median of blocks of steps of zeros.
fn time_step(model: &Model) -> Result<f64, Failure> {
    let step = Step::of(model)?;
    let zeros = step.views();
    let mut stream = model.stream(step.batch)?;
    let mut times = Vec::new();
    for _ in 0..101 {
        stream.reset();
        let start = Instant::now();
        for _ in 0..step.most {
            stream.step(&zeros[..])?;
        }
        times.push(start.elapsed().as_secs_f64() * 1e6 / step.most as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[50])
}

/// Answer each line of standard input with the outputs of a step.
fn run_lines(model: &Model) -> Result<ExitCode, Failure> {
    let mut step = Step::of(model)?;
    let mut stream = model.stream(step.batch)?;
    for (place, line) in io::stdin().lock().lines().enumerate() {
        let line = line?;
        let mut answer = String::new();
        if line.trim().is_empty() {
            stream.reset();
        } else {
            let in_line = |error: Failure| format!("line {}: {error}", place + 1);
            step.read(&line).map_err(in_line)?;
            let outputs = stream
                .step(&step.views()[..])
                .map_err(|error| in_line(error.into()))?;
            answer = step.write(outputs)?;
        }
        println!("{answer}");
        io::stdout().flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The values of an input in one step.
enum Values {
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Float16(Vec<F16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Bool(Vec<bool>),
}

impl Values {
    fn count(&self) -> usize {
        match self {
            Values::Float32(data) => data.len(),
            Values::Float64(data) => data.len(),
            Values::Float16(data) => data.len(),
            Values::Int32(data) => data.len(),
            Values::Int64(data) => data.len(),
            Values::Bool(data) => data.len(),
        }
    }

    /// Set a value to the finite number that a word is.
    fn set(&mut self, place: usize, word: Option<&str>) -> Option<()> {
        let word = word?;
        match self {
            Values::Float32(data) => {
                data[place] = word.parse().ok().filter(|x: &f32| x.is_finite())?
            }
            Values::Float64(data) => {
                data[place] = word.parse().ok().filter(|x: &f64| x.is_finite())?
            }
            Values::Float16(data) => {
                data[place] = word.parse().ok().map(|x: f32| F16::from(x))?;
                return f32::from(data[place]).is_finite().then_some(());
            }
            Values::Int32(data) => data[place] = word.parse().ok()?,
            Values::Int64(data) => data[place] = word.parse().ok()?,
            Values::Bool(data) => data[place] = word.parse().ok().filter(|&x: &u8| x < 2)? == 1,
        }
        Some(())
    }
}

/// The data inputs of a step, and how many values each output has in it.
struct Step {
    inputs: Vec<(String, Values)>,
    outputs: Vec<usize>,
    batch: usize,
    most: i64, // steps in a row, at most those that a sequence may have
}

impl Step {
    fn of(model: &Model) -> Result<Step, Failure> {
        let graph = if model.has(Graph::Step) {
            Graph::Step
        } else {
            Graph::Sequence
        };
        let mut step = Step {
            inputs: Vec::new(),
            outputs: Vec::new(),
            batch: 1,
            most: 100,
        };
        for port in model.inputs(graph) {
            let sizes = port.axes.iter().zip(port.shape);
            step.batch = sizes
                .filter_map(|(&axis, &size)| (axis == "batch" && size > 0).then_some(size as usize))
                .next()
                .unwrap_or(step.batch);
            if port.is_state && port.limit > 0 {
                step.most = step.most.min(port.limit);
            }
            if !port.is_state && !port.is_lengths {
                let count = count_of(&port);
                let values = match port.dtype {
                    Dtype::Float32 => Values::Float32(vec![0.0; count]),
                    Dtype::Float64 => Values::Float64(vec![0.0; count]),
                    Dtype::Float16 => Values::Float16(vec![F16(0); count]),
                    Dtype::Int32 => Values::Int32(vec![0; count]),
                    Dtype::Int64 => Values::Int64(vec![0; count]),
                    Dtype::Bool => Values::Bool(vec![false; count]),
                    other => {
                        return Err(format!("`{}` is {other}, which no line has", port.name).into())
                    }
                };
                step.inputs.push((port.name.to_string(), values));
            }
        }
        let outputs = model.outputs(graph);
        step.outputs = outputs
            .iter()
            .filter(|port| !port.is_state)
            .map(count_of)
            .collect();
        Ok(step)
    }

    /// Read the values of a line into the inputs.
    fn read(&mut self, line: &str) -> Result<(), Failure> {
        let words = line.split([',', ' ', '\t', '\r']);
        let mut words = words.filter(|word| !word.is_empty());
        let mut takes = Vec::new();
        let mut right = true;
        for (name, values) in &mut self.inputs {
            takes.push(format!("{} of `{name}`", values.count()));
            right &= (0..values.count()).all(|place| values.set(place, words.next()).is_some());
        }
        if right && words.next().is_none() {
            return Ok(());
        }
        Err(format!(
            "a step takes {}, and this is something else. Give finite numbers, separated by commas \
             or white space",
            takes.join(", ")
        )
        .into())
    }

    fn views(&self) -> Vec<Input<'_>> {
        let views = self.inputs.iter().map(|(name, values)| match values {
            Values::Float32(data) => Input::named(name, data),
            Values::Float64(data) => Input::named(name, data),
            Values::Float16(data) => Input::named(name, data),
            Values::Int32(data) => Input::named(name, data),
            Values::Int64(data) => Input::named(name, data),
            Values::Bool(data) => Input::named(name, data),
        });
        views.collect()
    }

    /// Return the outputs separated by commas; what is not defined yet is left empty.
    fn write(&self, outputs: &Outputs) -> Result<String, Error> {
        let mut texts = Vec::new();
        for (output, &count) in outputs.iter().zip(&self.outputs) {
            texts.resize(texts.len() + count - output.count(), String::new());
            match output.dtype() {
                Dtype::Float32 => texts.extend(numbers::<f32>(output)?),
                Dtype::Float64 => texts.extend(numbers::<f64>(output)?),
                Dtype::Float16 => {
                    let halves = output.data::<F16>()?.iter();
                    texts.extend(halves.map(|&half| f32::from(half).to_string()));
                }
                Dtype::Int32 => texts.extend(numbers::<i32>(output)?),
                Dtype::Bool => {
                    texts.extend(output.data()?.iter().map(|&b: &bool| (b as u8).to_string()))
                }
                _ => texts.extend(numbers::<i64>(output)?),
            }
        }
        Ok(texts.join(","))
    }
}

/// Return how many values a port has in one step of one sequence, or of a constant batch.
fn count_of(port: &Port) -> usize {
    let sizes = port.axes.iter().zip(port.shape);
    sizes
        .filter(|(&axis, &size)| axis != "sequence" && size > 0)
        .map(|(_, &size)| size as usize)
        .product()
}

fn numbers<T>(output: &Output) -> Result<Vec<String>, Error>
where
    T: edgernn::Element + ToString,
{
    Ok(output.data::<T>()?.iter().map(T::to_string).collect())
}
