//! From a configuration to a service, until it is told to end.

use crate::config::{Config, ConfigError};
use crate::listen::{ListenError, Listeners};
use crate::router::router;
use crate::service::Service;
use crate::setup::Setup;
use crate::{health, log};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use wardian::host::Host;

/// How the service is started.
pub struct Options {
    /// The configuration file, which SIGHUP reads again.
    pub file: Option<PathBuf>,
    /// What is laid over it, then and later: the command line's options.
    pub over: Box<dyn Fn(&mut Config) + Send + Sync>,
    /// What this machine can enforce.
    pub host: Host,
}

/// Why the service does not start, or ends by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A place to listen at.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Threads or signals.
    #[error("cannot {step}: {source}")]
    Start {
        /// What we were about to do.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl ServeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ServeError::Listen(error) => error.hint(),
            ServeError::Config(error) => error.hint(),
            ServeError::Start { .. } => None,
        }
    }

    fn at(step: &'static str) -> impl FnOnce(io::Error) -> ServeError {
        move |source| ServeError::Start { step, source }
    }
}

impl Options {
    fn config(&self) -> Result<Config, ConfigError> {
        let mut config = self.file.as_deref().map_or_else(|| Ok(Config::default()), Config::load)?;
        (self.over)(&mut config);
        config.check()?;
        Ok(config)
    }
}

/// Serves until SIGTERM or SIGINT, then lets runs end.
///
/// # Errors
/// A configuration that cannot be put into effect; nothing is served then.
pub fn serve(options: Options) -> Result<(), ServeError> {
    let config = options.config()?;
    log::start(config.log);
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("wardian-serve")
        // Runs, and bodies that are read meanwhile.
        .max_blocking_threads(MOST_BLOCKING)
        .build()
        .map_err(ServeError::at("start the service's threads"))?;
    // A start takes its time, and whoever wants another configuration meanwhile must not end it.
    let hang_up = {
        let _within = runtime.enter();
        watch(SignalKind::hangup())?
    };
    let host = options.host.clone();
    let setup = Setup::new(config, None, &host)?;
    let service = Arc::new(Service::new(setup, host));
    let answer = runtime.block_on(until_told(&options, &service, hang_up));
    // Every run has ended or been ended.
    runtime.shutdown_timeout(Duration::from_secs(5));
    answer
}

const MOST_BLOCKING: usize = 1024;

fn watch(kind: SignalKind) -> Result<SignalStream, ServeError> {
    signal(kind).map_err(ServeError::at("watch for signals"))
}

async fn until_told(
    options: &Options,
    service: &Arc<Service>,
    mut hang_up: SignalStream,
) -> Result<(), ServeError> {
    let (mut terminate, mut interrupt) = (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?);
    let mut listeners = Listeners::new(router(Arc::clone(service)), Arc::clone(service));
    let places = listeners.apply(&service.setup().config)?;
    announce(service, &places);
    let reloading = async {
        loop {
            hang_up.recv().await;
            reload(options, service, &mut listeners).await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // It is given up in the middle when the service has to end.
        () = reloading => {}
    }
    drain(service, &mut listeners).await;
    Ok(())
}

/// Takes a new configuration as a whole, or stays with the old one as a whole.
async fn reload(options: &Options, service: &Arc<Service>, listeners: &mut Listeners) {
    let before = service.setup();
    let reloaded = async {
        let config = options.config()?;
        let service = Arc::clone(service);
        // Environments may take seconds to get ready; requests go on meanwhile.
        let setup = tokio::task::spawn_blocking(move || service.reload(config)).await;
        let setup = setup.map_err(|error| ServeError::at("reload")(io::Error::other(error)))??;
        Ok::<_, ServeError>((listeners.apply(&setup.config)?, setup))
    };
    match reloaded.await {
        Ok((places, _)) => {
            tracing::info!("the new configuration is in effect");
            announce(service, &places);
        }
        Err(error) => {
            service.restore(before);
            tracing::error!(%error, "the configuration stays as it was");
        }
    }
}

/// Says what is ready, and how long that took.
fn announce(service: &Arc<Service>, places: &[String]) {
    let setup = service.setup();
    for environment in &setup.environments {
        let took_ms = u64::try_from(environment.took.as_millis()).unwrap_or(u64::MAX);
        let name = &environment.config.name;
        let ready: Vec<String> = environment
            .ready
            .iter()
            .map(|ready| format!("{} {}", environment.config.ready, ready.policy()))
            .collect();
        tracing::info!(
            %name,
            python = %environment.interpreter.version,
            preload = environment.config.preload.join(","),
            starts = setup.policies.first().map(|policy| environment.starts(policy)),
            ready = ready.join(", "),
            took_ms,
            "environment ready"
        );
    }
    let configured = setup.config.requests.connections;
    let most = service.crowd.most(configured);
    if most < configured {
        tracing::warn!(
            most,
            configured,
            "fewer connections: they take half of the open files (`ulimit -n`) at most"
        );
    }
    for place in places {
        tracing::info!(%place, "listening");
    }
    tokio::spawn(announce_layers(Arc::clone(service)));
}

/// Says what contains runs, as the report of one tells.
async fn announce_layers(service: Arc<Service>) {
    let started = std::time::Instant::now();
    let probed = health::probe(&service).await;
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match probed {
        Ok(ready) => tracing::info!(layers = ready.layers, took_ms, "layers ready"),
        Err(why) => tracing::error!(%why, "not ready: a sandbox does not hold here"),
    }
}

async fn drain(service: &Arc<Service>, listeners: &mut Listeners) {
    /// What is ended takes no longer than that.
    const LAST: Duration = Duration::from_secs(15);
    let time = service.setup().config.runs.drain_time.as_std();
    tracing::info!(seconds = time.as_secs(), "ending: no more requests, runs may end");
    service.gate.drain();
    listeners.close();
    listeners.end();
    if !service.idle(time).await {
        tracing::warn!("ending the runs that are left");
        service.cancel_all();
        let _ = service.idle(LAST).await;
    }
    // Answers are on their way.
    let end = tokio::time::Instant::now() + Duration::from_secs(2);
    while service.crowd.len() > 0 && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tracing::info!("ended");
}

/// As many descriptors as we may have: connections and sandboxes take many.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
