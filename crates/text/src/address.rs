//! Addresses as people write them.

/// Checks the form of a `HOST:PORT` flag, for clap's `value_parser`. Whether
/// there is such a host shows when the lab looks it up.
///
/// # Errors
///
/// In words, when there is no host or the port is not one of 0 to 65535.
pub fn host_port(text: &str) -> Result<String, String> {
    let form = "write it as HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080";
    let (host, port) = text.rsplit_once(':').ok_or(form)?;
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || (host.contains(':') && !is_bracketed) {
        return Err(form.to_owned());
    }
    match port.parse::<u16>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("a port is a number from 0 to 65535; {form}")),
    }
}

#[cfg(test)]
mod tests {
    use super::host_port;

    #[test]
    fn a_host_and_a_port_are_both_needed() {
        for good in ["127.0.0.1:8080", "[::1]:0", "localhost:65535"] {
            assert_eq!(host_port(good).as_deref(), Ok(good));
        }
        for bad in ["8080", ":8080", "::1:8080", "host:", "host:65536"] {
            assert!(host_port(bad).unwrap_err().contains("HOST:PORT"), "{bad}");
        }
    }
}
