//! Shows the book to a browser, and shows it again when a chapter changes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{Redirect, Response};
use axum::routing::get;
use common::story;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tower_http::services::ServeDir;
use tower_livereload::{LiveReloadLayer, Reloader};

use crate::site::{Site, files_below};

/// How often to look for a changed file. Asking the system to be told would be
/// quicker, and differs on every system; nobody saves faster than this.
const POLL: Duration = Duration::from_millis(300);

/// Builds the book and serves it on `listen` until `stop` is cancelled.
pub async fn serve(
    site: &Site,
    listen: &str,
    stop: CancellationToken,
) -> Result<()> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let built_from = snapshot(site)?;
    site.build()?;
    story!("the book is at http://{address}/en/index.html; Ctrl-C ends");

    let reload = LiveReloadLayer::new();
    let reloader = reload.reloader();
    let app = Router::new()
        .route("/", get(|| async { Redirect::temporary("/en/index.html") }))
        .fallback_service(ServeDir::new(site.pages()))
        .layer(reload)
        .layer(map_response(async |mut response: Response| {
            let no_store = HeaderValue::from_static("no-store");
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, no_store);
            response
        }));
    // A browser that waits for a change holds its connection open, so nothing
    // is gained by waiting for the connections to end.
    tokio::select! {
        result = axum::serve(listener, app) => result.context("cannot serve"),
        result = watch(site, built_from, &reloader) => result,
        () = stop.cancelled() => Ok(()),
    }
}

type Snapshot = BTreeMap<PathBuf, (SystemTime, u64)>;

/// Rebuilds whenever a file has changed. A book that does not build is told
/// on stderr, and the last good one stays.
async fn watch(
    site: &Site,
    mut built_from: Snapshot,
    reloader: &Reloader,
) -> Result<()> {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A folder that is being renamed right now will be there next time.
        let Ok(now) = snapshot(site) else { continue };
        if now == built_from {
            continue;
        }
        // Taken before the build: what changes meanwhile is another change.
        built_from = now;
        let this = site.clone();
        match spawn_blocking(move || this.build()).await? {
            Ok(_) => {
                story!("built again");
                reloader.reload();
            }
            Err(error) => {
                let _ = writeln!(io::stderr(), "error: {error:#}");
            }
        }
    }
}

fn snapshot(site: &Site) -> Result<Snapshot> {
    let mut snapshot = Snapshot::new();
    for folder in site.sources().iter().filter(|folder| folder.exists()) {
        for file in files_below(folder)? {
            let metadata = file.metadata()?;
            snapshot.insert(file, (metadata.modified()?, metadata.len()));
        }
    }
    Ok(snapshot)
}
