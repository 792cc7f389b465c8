//! Words for the place of an archive, which a build without either database reads as well. It opens none.

/// The name of an archive's file, beside those of the embedded state.
pub const ARCHIVE_FILE_NAME: &str = "archive.db";

/// Whether a place is a PostgreSQL database rather than a file.
#[must_use]
pub fn is_postgres_url(place: &str) -> bool {
    ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| place.starts_with(scheme))
}
