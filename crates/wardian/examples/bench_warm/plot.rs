//! Time to the first plot: pandas and matplotlib, a PNG in the report.

use crate::numbers::Times;
use crate::{Failure, Options, PYTHON, Workload, cold, is_possible, way};
use std::path::Path;
use std::time::Instant;
use wardian::files::{CollectLimits, Globs};
use wardian::sandbox::{Collect, Connections};
use wardian::warm::{Job, JobProgram};

const PLOT: Workload = Workload {
    name: "plot",
    preload: &["numpy", "pandas", "matplotlib.pyplot"],
    code: "import matplotlib
matplotlib.use('Agg')
import pandas
import matplotlib.pyplot as plt
pandas.DataFrame({'x': range(10), 'y': [n * n for n in range(10)]}).plot(x='x', y='y')
plt.savefig('/tmp/plot.png' if __import__('os').getcwd() != '/box' else 'plot.png')
",
};

pub fn measure(options: &Options) -> Result<(), Failure> {
    if !is_possible(&PLOT) {
        return Ok(());
    }
    let pool = way::pool(PLOT.preload, 2, 1)?;
    let (mut bare, mut warm) = (Times::default(), Times::default());
    for _ in 0..(options.runs / 40).max(3) {
        bare.push(cold::bare(Path::new(PYTHON), PLOT.code)?);
        while pool.levels().ready == 0 {
            std::thread::yield_now();
        }
        let collect =
            Collect { globs: Globs::new(&["*.png".into()])?, limits: CollectLimits::default(), out: None };
        let connections = Connections { collect: Some(collect), ..Connections::capture() };
        let started = Instant::now();
        let report = pool.run(&Job::new(JobProgram::Code(PLOT.code.into())), connections)?;
        warm.push(started.elapsed());
        if report.files.len() != 1 {
            return Err(format!("no plot came: {}", serde_json::to_string(&report)?).into());
        }
    }
    let (bare, warm) = (bare.percentile(50), warm.percentile(50));
    println!(
        "\ntime to the first plot: bare {bare} µs, warm, as a file in the report {warm} µs: {:.3} x",
        warm as f64 / bare as f64
    );
    Ok(())
}
