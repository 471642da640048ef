//! Compile the core, edgernn.c, with the system's C compiler into a static library.
//!
//! The variables `CC` (default: `cc`, and `cl` for MSVC), `AR` (`ar`, `lib`) and `CFLAGS` name other
//! tools and options, as for a cross build. With `cl`, start from a prompt of Visual Studio.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let core = ["core", "../c"]
        .map(|folder| package.join(folder))
        .into_iter()
        .find(|folder| folder.join("edgernn.c").is_file())
        .unwrap_or_else(|| panic!("`{}` has no core/edgernn.c", package.display()));
    let out = PathBuf::from(variable("OUT_DIR"));
    for name in ["edgernn.c", "edgernn.h"] {
        println!("cargo:rerun-if-changed={}", core.join(name).display());
    }
    for name in ["CC", "AR", "CFLAGS"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if variable("CARGO_CFG_TARGET_ENV") == "msvc" {
        compile_with_msvc(&core, &out);
    } else {
        compile(&core, &out);
    }
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=static=edgernn");
    if matches!(
        variable("CARGO_CFG_TARGET_OS").as_str(),
        "linux" | "android"
    ) {
        println!("cargo:rustc-link-lib=dl");
        println!("cargo:rustc-link-lib=m");
    }
}

fn compile(core: &Path, out: &Path) {
    let (object, library) = (out.join("edgernn.o"), out.join("libedgernn.a"));
    run(tool("CC", "cc")
        .args(["-std=c11", "-O2", "-fvisibility=hidden", "-c"])
        .args((variable("CARGO_CFG_TARGET_OS") != "windows").then_some("-fPIC"))
        .args(flags())
        .arg(core.join("edgernn.c"))
        .arg("-o")
        .arg(&object));
    run(tool("AR", "ar").arg("crs").arg(library).arg(object));
}

fn compile_with_msvc(core: &Path, out: &Path) {
    let object = out.join("edgernn.obj");
    run(tool("CC", "cl")
        .args(["/nologo", "/std:c11", "/O2", "/c"])
        .args(flags())
        .arg(core.join("edgernn.c"))
        .arg(format!("/Fo{}", object.display())));
    run(tool("AR", "lib")
        .arg("/nologo")
        .arg(format!("/OUT:{}", out.join("edgernn.lib").display()))
        .arg(object));
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Return the command of a variable, which may have options after the program.
fn tool(name: &str, usual: &str) -> Command {
    let text = env::var(name).unwrap_or_else(|_| usual.to_string());
    let mut words = text.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or(usual));
    command.args(words);
    command
}

fn flags() -> Vec<String> {
    let text = variable("CFLAGS");
    text.split_whitespace().map(String::from).collect()
}

fn run(command: &mut Command) {
    match command.status() {
        Ok(status) if status.success() => (),
        Ok(status) => panic!("`{command:?}` ended with {status}"),
        Err(error) => {
            panic!("`{command:?}` did not start: {error}. Install a C compiler or set CC")
        }
    }
}
