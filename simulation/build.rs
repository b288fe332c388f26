//! Builds `chance.c` as a library that stands before the system's in a process of the simulation.

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=chance.c");
    if env::var_os("CARGO_CFG_TARGET_OS").is_none_or(|system| system != "linux") {
        // A seed runs there as well, and is another story every time.
        println!("cargo:rustc-env=CALBRIDGE_CHANCE=");
        return Ok(());
    }
    let library = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo says no OUT_DIR")?).join("chance.so");
    let mut compiler = cc::Build::new().get_compiler().to_command();
    let built = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg("chance.c").status()?;
    if !built.success() {
        return Err(format!("the C compiler did not build chance.c: {built}").into());
    }
    println!("cargo:rustc-env=CALBRIDGE_CHANCE={}", library.display());
    Ok(())
}
