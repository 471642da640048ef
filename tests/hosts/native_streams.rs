//! What is special to the Rust host: inputs of many forms, outputs that borrow from the stream,
//! threads, and errors. Runs on the artifact of the variable ARTIFACT, whose inputs are `tokens`, ids
//! (batch, sequence).

use std::thread;

use edgernn::{Error, ErrorKind, Graph, Input, Model, Options, Outputs, Stream, F16};

fn model() -> Model {
    Model::open(std::env::var("ARTIFACT").unwrap()).unwrap()
}

fn numbers(outputs: &Outputs) -> Vec<f32> {
    outputs[0].data().unwrap().to_vec()
}

fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn inputs_have_many_forms() {
    let mut stream = model().stream(1).unwrap();
    let (array, vector) = ([1_i64], vec![1_i64]);
    let expected = numbers(stream.step([Input::new("tokens", &array, &[1])]).unwrap());
    let mut same = |run: &dyn Fn(&mut Stream) -> Vec<f32>| {
        stream.reset();
        assert_eq!(run(&mut stream), expected);
    };
    same(&|stream| numbers(stream.step(&array).unwrap()));
    same(&|stream| numbers(stream.step(&vector).unwrap()));
    same(&|stream| numbers(stream.step(&vector[..]).unwrap()));
    same(&|stream| numbers(stream.step(Input::named("tokens", &array)).unwrap()));
    same(&|stream| numbers(stream.step([Input::named("tokens", &array)]).unwrap()));
    same(&|stream| numbers(stream.step(&vec![Input::from(&array[..])][..]).unwrap()));
}

#[test]
fn chunks_are_as_long_as_their_elements() {
    let model = model();
    let mut stream = model.stream(1).unwrap();
    let whole = numbers(stream.run(&[1_i64, 2, 3]).unwrap());
    assert_eq!(numbers(stream.feed(&[1_i64, 2, 3]).unwrap()), whole);
    stream.reset();
    let chunk = Input::new("tokens", &[1_i64, 2, 3], &[1, 3]);
    assert_eq!(numbers(stream.feed(chunk).unwrap()), whole);
    assert_eq!((stream.steps(), stream.rest(), stream.batch()), (3, 0, 1));
    assert_eq!(stream.finish([]).unwrap()[0].count(), 0);
    let mut three = model.stream(3).unwrap();
    let outputs = three.feed(&[1_i64; 12]).unwrap();
    assert_eq!(outputs["output"].shape()[..2], [3, 4]);
    assert_eq!(outputs.len(), 1);
}

#[test]
fn outputs_live_as_long_as_the_borrow() {
    let mut stream = model().stream(1).unwrap();
    let first: &[f32] = stream.step(&[1_i64]).unwrap()[0].data().unwrap();
    let copy = first.to_vec();
    let second: &[f32] = stream
        .step(&[1_i64])
        .unwrap()
        .find("output")
        .unwrap()
        .data()
        .unwrap();
    assert_ne!(copy, second);
    assert!(stream.step(&[1_i64]).unwrap().find("other").is_none());
}

#[test]
fn errors_have_a_kind_and_change_nothing() {
    let model = model();
    let mut stream = model.stream(1).unwrap();
    assert_eq!(kind(Model::open("missing.edgernn")), ErrorKind::Contract);
    let options = Options {
        provider: Some("nonsense"),
        ..Default::default()
    };
    assert_eq!(
        kind(options.open(std::env::var("ARTIFACT").unwrap())),
        ErrorKind::Provider
    );
    let options = Options {
        library: Some("no\0where"),
        ..Default::default()
    };
    let error = options.open("missing.edgernn").err().unwrap();
    let message = "Library `no\\0where` has a NUL in it. Give a text without one.";
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Input, message)
    );
    assert_eq!(kind(model.stream(0)), ErrorKind::Input);
    assert_eq!(kind(stream.step(&[1_i64, 2])), ErrorKind::Input);
    assert_eq!(kind(stream.step(&[1_f32])), ErrorKind::Input);
    assert_eq!(kind(stream.step(&[F16(0)])), ErrorKind::Input);
    assert_eq!(kind(stream.step([])), ErrorKind::Input);
    assert_eq!(
        kind(stream.step(Input::named("words", &[1_i64]))),
        ErrorKind::Input
    );
    assert_eq!(
        kind(stream.step(Input::named("a\0b", &[1_i64]))),
        ErrorKind::Input
    );
    assert_eq!(kind(stream.state("none")), ErrorKind::State);
    assert_eq!(kind(stream.restore(&[0; 7])), ErrorKind::State);
    assert_eq!(
        kind(stream.set_state(Input::named("h_in", &[1_i64]))),
        ErrorKind::State
    );
    assert_eq!(stream.steps(), 0);

    for shape in [&[1][..], &[3], &[-1, -2], &[i64::MAX, i64::MAX, 2], &[0]] {
        let error = stream
            .step(Input::new("tokens", &[1_i64, 2], shape))
            .err()
            .unwrap();
        let message = format!(
            "`tokens` came with 2 elements, which do not fill its shape, {shape:?}. Give a shape \
             whose product is the number of elements."
        );
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Input, message)
        );
    }
    let outputs = stream.step(&[1_i64]).unwrap();
    let error = outputs[0].data::<f64>().err().unwrap();
    let message = "`output` has elements of float32, but they were read as float64. Read them as \
                   float32.";
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Input, message)
    );
}

#[test]
#[should_panic(expected = "there is no output `scores` among [output: float32[1, 13]]")]
fn an_index_by_a_wrong_name_panics() {
    let _ = &model().stream(1).unwrap().step(&[1_i64]).unwrap()["scores"];
}

#[test]
fn a_stream_outlives_its_model() {
    let mut stream = model().stream(1).unwrap();
    let first = numbers(stream.step(&[1_i64]).unwrap());
    let snapshot = stream.snapshot().unwrap();
    let next = numbers(stream.step(&[2_i64]).unwrap());
    assert_ne!(first, next);
    stream.restore(&snapshot).unwrap();
    let state: Vec<f32> = stream.state("h_in").unwrap().data().unwrap().to_vec();
    assert_eq!(numbers(stream.step(&[2_i64]).unwrap()), next);
    stream.reset();
    stream.set_state(Input::named("h_in", &state)).unwrap();
    assert_eq!(stream.state("h_in").unwrap().data::<f32>().unwrap(), state);
}

#[test]
fn threads_share_a_model() {
    let model = model();
    let last = |mut stream: Stream| {
        (0..200_i64)
            .map(|i| numbers(stream.step(&[i % 7]).unwrap()))
            .last()
            .unwrap()
    };
    let expected = last(model.stream(1).unwrap());
    thread::scope(|scope| {
        let shared = (0..3).map(|_| scope.spawn(|| last(model.stream(1).unwrap())));
        let shared: Vec<_> = shared.collect();
        for result in shared {
            assert_eq!(result.join().unwrap(), expected);
        }
    });
    let moved = model.stream(1).unwrap(); // a stream is Send
    assert_eq!(thread::spawn(move || last(moved)).join().unwrap(), expected);
}

#[test]
fn float16_is_rounded_to_the_nearest() {
    for bits in 0..0x7BFF_u16 {
        let (number, next) = (f32::from(F16(bits)), f32::from(F16(bits + 1)));
        assert_eq!(F16::from(number), F16(bits));
        assert_eq!(F16::from(-number), F16(bits | 0x8000));
        let middle = ((number + next) / 2.0).to_bits();
        assert_eq!(F16::from(f32::from_bits(middle)), F16(bits + (bits & 1)));
        assert_eq!(F16::from(f32::from_bits(middle - 1)), F16(bits));
        assert_eq!(F16::from(f32::from_bits(middle + 1)), F16(bits + 1));
    }
    assert_eq!(F16::from(65519.0), F16(0x7BFF));
    assert_eq!(F16::from(65520.0), F16(0x7C00));
    assert_eq!(F16::from(f32::NEG_INFINITY), F16(0xFC00));
    assert!(f32::from(F16::from(f32::NAN)).is_nan());
}

#[test]
fn facts_of_a_model() {
    let model = model();
    assert!(model.has(Graph::Step) && model.carries());
    assert_eq!(
        (model.hop(), model.provider(), model.vocabulary_size()),
        (1, "cpu", 13)
    );
    assert_eq!(model.metadata("vocabulary.unknown"), Some("11"));
    assert_eq!(
        (model.metadata("none"), model.metadata("a\0b")),
        (None, None)
    );
    assert_eq!(
        (model.symbol(1), model.symbol(-1), model.symbol(99)),
        (Some("b"), None, None)
    );
    assert_eq!(model.decode(&model.encode("abé").unwrap()).unwrap(), "abé");
    assert_eq!(
        (model.encode("").unwrap(), model.decode(&[]).unwrap()),
        (vec![], String::new())
    );
    let inputs = model.inputs(Graph::Sequence);
    let names: Vec<&str> = inputs.iter().map(|port| port.name).collect();
    assert_eq!(names, ["tokens", "h_in", "c_in"]);
    assert_eq!(
        (inputs[0].axes.as_slice(), inputs[0].limit),
        (&["batch", "sequence"][..], 13)
    );
    assert_eq!(inputs[0].shape, [-1, -1]);
    assert!(inputs[1].is_state && !inputs[0].is_state);
    assert_eq!(model.outputs(Graph::Step).len(), 3);
}
