//! Writes what a hunt begins with, for `fuzz/run`: `seeds FOLDER` makes a folder in it for each target, and prints each
//! target's name and how long its inputs are at the most.

use std::{env, error::Error, fs, path::Path};

use calbridge_fuzz::TARGETS;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("say the folder")?;
    for target in TARGETS {
        let folder = Path::new(&folder).join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:04}")), seed)?;
        }
        println!("{} {}", target.name, target.bytes_most);
    }
    Ok(())
}
