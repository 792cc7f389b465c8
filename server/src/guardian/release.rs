//! Releases what a dead server held. What each answer means is [`ReleaseAnswer`]'s to say.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::ownership::{Authority, Holdings, Membership, ReleaseAnswer, Tenure};
use tokio::task::JoinSet;

use crate::stores::Coordination;

/// An authority that does not take a release is asked again this often, until a ttl has passed: by then spares need no
/// release.
const RELEASE_RETRY: Duration = Duration::from_millis(50);

/// Releases what the dead server held, and takes it out of the directory. What the authority does not take within a ttl
/// runs out by itself.
pub(super) async fn release<A, F>(holdings: &Holdings, ttl: Duration, open: A)
where
    A: Fn() -> F,
    F: Future<Output = anyhow::Result<Coordination>>,
{
    if holdings.is_empty() {
        return;
    }
    let releases = async {
        let Coordination { authority, membership } = loop {
            match open().await {
                Ok(coordination) => break coordination,
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the authority is not there"),
            }
            tokio::time::sleep(RELEASE_RETRY).await;
        };
        // At once: a zone that cannot be released for now does not keep the server in the directory.
        tokio::join!(
            release_all(holdings, &authority),
            withdraw(holdings, membership.as_ref())
        );
    };
    if tokio::time::timeout(ttl, releases).await.is_err() {
        tracing::warn!("the authority did not answer: what the server held runs out by itself");
    }
}

/// Clients must not be sent to it any more. It also falls silent there, so one try is enough.
async fn withdraw(holdings: &Holdings, membership: &dyn Membership) {
    if let Some(nonce) = holdings.announced()
        && let Err(error) = membership.withdraw(nonce).await
    {
        tracing::warn!(%error, "the directory still names the dead server");
    }
}

/// All at once: a zone on a node of a Cluster that is gone holds up no other.
async fn release_all(holdings: &Holdings, authority: &Arc<dyn Authority>) {
    let mut releases = JoinSet::new();
    for tenure in holdings.tenures() {
        releases.spawn(release_one(Arc::clone(authority), tenure));
    }
    releases.join_all().await;
}

async fn release_one(authority: Arc<dyn Authority>, tenure: Tenure) {
    let (zone, epoch) = (&tenure.zone, tenure.epoch());
    loop {
        let answer = authority.release(&tenure).await;
        match ReleaseAnswer::from(&answer) {
            ReleaseAnswer::Released => return tracing::warn!(%zone, %epoch, "released for the dead server"),
            ReleaseAnswer::NothingToRelease => {
                return tracing::info!(%zone, %epoch, "nothing to release: it is somebody else's by now");
            }
            ReleaseAnswer::Again => {
                let error = answer.err().map(tracing::field::display);
                tracing::warn!(%zone, error, "not released yet");
            }
        }
        tokio::time::sleep(RELEASE_RETRY).await;
    }
}
