//! Kubernetes puts the address of every Service of a namespace into the environment of every container. Those of a
//! Service whose name begins as this program's are no keys of its configuration.

/// Whether Kubernetes has set this variable, of whose name `rest` follows the prefix: `SERVICE_HOST=IP`,
/// `SERVICE_PORT=N`, `SERVICE_PORT_NAME=N`, `PORT=PROTO://IP:N`, and `PORT_N_PROTO`, alone or with `_PROTO`, `_PORT`,
/// or `_ADDR`. For a Service with a longer name its other words stand in front.
pub(super) fn is_one(rest: &str, text: &str) -> bool {
    let later_words = rest.match_indices('_').map(|(at, _)| &rest[at + 1..]);
    std::iter::once(rest)
        .chain(later_words)
        .any(|form| has_form(form, text))
}

fn has_form(form: &str, text: &str) -> bool {
    if let Some(form) = form.strip_prefix("SERVICE_") {
        return form == "HOST" || ((form == "PORT" || form.starts_with("PORT_")) && is_number(text));
    }
    match form.strip_prefix("PORT") {
        Some("") => is_link(text),
        Some(of_port) => of_port.strip_prefix('_').is_some_and(is_of_port),
        None => false,
    }
}

fn is_of_port(form: &str) -> bool {
    let mut words = form.split('_');
    let (port, protocol, what) = (words.next(), words.next(), words.next());
    port.is_some_and(is_number)
        && matches!(protocol, Some("TCP" | "UDP" | "SCTP"))
        && matches!(what, None | Some("PROTO" | "PORT" | "ADDR"))
        && words.next().is_none()
}

fn is_number(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn is_link(text: &str) -> bool {
    matches!(text.split_once("://"), Some(("tcp" | "udp" | "sctp", _)))
}
