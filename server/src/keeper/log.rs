//! The words of the holder's log lines. When one is due is the holder's to say.

use everhold_core::limits::STOP_ZONES_MS_MAX;
use everhold_core::outage::Lasted;
use everhold_core::ownership::holder::remark::{Remark, RequestFailure, Service, ZoneRemark};
use everhold_core::ownership::key_check::Stranger;
use everhold_net::keys;
use everhold_protocol::ZoneName;

/// Writes the line.
pub(super) fn log(remark: &Remark) {
    match remark {
        Remark::Failing(failure, lasted) => log_failure(failure, *lasted),
        Remark::Answered(service, lasted) => log_answered(*service, *lasted),
        Remark::Zone(zone, remark) => log_zone(zone, remark),
        Remark::Stranger(Stranger { addr, kind }) => {
            let file = keys::file_of(*kind);
            tracing::error!(
                %addr,
                file,
                "a living shard of this world has other keys: players of one cannot go on at the other; stop it, and \
                 copy one set of keys to every host (`everhold keys export`)"
            );
        }
        Remark::Retired(nonce) => tracing::info!(nonce = nonce.0, "a dead shard was removed from the directory"),
        Remark::StillInDirectory(error) => tracing::warn!(%error, "the directory still names this shard"),
    }
}

fn log_failure(failure: &RequestFailure, Lasted { ms, failures }: Lasted) {
    match failure {
        RequestFailure::Renewals { zone, zones, error } => {
            tracing::warn!(%zone, zones, %error, ms, failures, "renewals are not answered");
        }
        RequestFailure::Leases(error) => tracing::warn!(%error, ms, failures, "the leases cannot be read"),
        RequestFailure::SomeLeases(zones, first) => {
            let first = first.as_ref().map(tracing::field::display);
            tracing::warn!(zones, first, ms, failures, "the leases of some zones cannot be read");
        }
        RequestFailure::Directory(error) => {
            tracing::warn!(%error, ms, failures, "the directory of shards cannot be read or written");
        }
        RequestFailure::Claim(zone, error) => tracing::warn!(%zone, %error, ms, failures, "a claim was not answered"),
        RequestFailure::Declaration(zone, error) => {
            tracing::warn!(%zone, %error, ms, failures, "a zone is not declared yet")
        }
    }
}

fn log_answered(service: Service, Lasted { ms, failures }: Lasted) {
    match service {
        Service::Renewals => tracing::info!(ms, failures, "renewals are answered again"),
        Service::Leases => tracing::info!(ms, failures, "the leases can be read again"),
        Service::Directory => tracing::info!(ms, failures, "the directory of shards can be read and written again"),
        Service::Claims => tracing::info!(ms, failures, "claims are answered again"),
    }
}

fn log_zone(zone: &ZoneName, remark: &ZoneRemark) {
    match remark {
        ZoneRemark::Declared => tracing::warn!(%zone, "no shard has declared this zone: it is declared here"),
        ZoneRemark::Damaged => tracing::error!(%zone, "the zone's lease is damaged: it counts as forgotten"),
        ZoneRemark::Granted(epoch) => tracing::info!(%zone, %epoch, "granted"),
        ZoneRemark::GivenUp(epoch) => tracing::warn!(%zone, %epoch, "an adoption is given up"),
        ZoneRemark::Released(epoch) => tracing::info!(%zone, %epoch, "released"),
        ZoneRemark::NotOurs(epoch) => tracing::info!(%zone, %epoch, "nothing to release: somebody else holds it"),
        ZoneRemark::NotReleased(error) => {
            tracing::warn!(%zone, %error, "the lease was not released and will run out");
        }
        ZoneRemark::Taken => tracing::info!(%zone, "another shard goes on with the suspended zone"),
        ZoneRemark::PutBack(epoch) => {
            tracing::error!(%zone, %epoch, "the authority had forgotten this lease; it was put back");
        }
        ZoneRemark::Refused(epoch) => tracing::warn!(%zone, %epoch, "the lease is somebody else's"),
        ZoneRemark::Wedged(tick) => tracing::error!(%zone, tick = tick.0, "this tick does not end: the zone is wedged"),
        ZoneRemark::EndsProcess(tick) => {
            tracing::error!(%zone, tick = tick.0, "this process ends, so that its zones can be adopted");
        }
        ZoneRemark::Unstopped => tracing::error!(
            %zone,
            ms = STOP_ZONES_MS_MAX,
            "the zone did not stop in time: its lease will run out, and what the store does not have of it is lost"
        ),
        ZoneRemark::LeftInMemory => tracing::error!(
            %zone,
            ms = STOP_ZONES_MS_MAX,
            "this process ends with the zone in memory, and could not store it in time: what the store does not have \
             of it is lost"
        ),
        ZoneRemark::Shunned => {
            tracing::error!(%zone, "the zone's lease is not renewed, and this process leaves it to others for a while");
        }
    }
}
