//! The log, on standard error.

use crate::config::LogFormat;
use std::io;
use tracing::level_filters::LevelFilter;

/// From now on, in this process, events are written so. A host program that has its own way keeps it.
pub(crate) fn start(format: LogFormat) {
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(LevelFilter::INFO);
    // Telling standard error that it cannot be written to would be a panic, and the end of every run.
    let builder = builder.with_target(false).log_internal_errors(false);
    let _ = match format {
        LogFormat::Human => tracing::subscriber::set_global_default(builder.with_ansi(false).finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().finish()),
    };
}
