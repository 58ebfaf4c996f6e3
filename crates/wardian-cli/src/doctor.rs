use crate::cli::DoctorOptions;
use std::process::ExitCode;
pub(crate) fn main(_o: &DoctorOptions) -> ExitCode {
    ExitCode::SUCCESS
}
