//! `trusted_proxies`: whose word on a sender's address is believed.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::ConfigError;

/// Networks of proxies: each is compared with the addresses of a request.
const PROXIES_MOST: usize = 256;

/// Networks, or single addresses, joined by commas.
pub(crate) fn resolve(said: Option<&str>) -> Result<Vec<IpNet>, ConfigError> {
    let Some(said) = said.filter(|said| !said.trim().is_empty()) else { return Ok(Vec::new()) };
    let refuse = |value: &str, mend: String| {
        Err(ConfigError::Value { option: "--trusted-proxies", value: value.to_owned(), mend })
    };
    let mut networks = Vec::new();
    for text in said.split(',').map(str::trim) {
        let network = text.parse::<IpNet>().or_else(|why| text.parse::<IpAddr>().map(IpNet::from).map_err(|_| why));
        match network {
            Ok(network) => networks.push(network),
            Err(_) => return refuse(text, "write a network as in 10.0.0.0/8 or fd00::/8, or one address".to_owned()),
        }
    }
    if networks.len() > PROXIES_MOST {
        let mend = format!("at most {PROXIES_MOST} networks can be trusted; name larger ones");
        return refuse(&format!("{} networks", networks.len()), mend);
    }
    Ok(IpNet::aggregate(&networks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_read() {
        let shown = |said| resolve(Some(said)).unwrap().iter().map(IpNet::to_string).collect::<Vec<_>>();
        assert_eq!(shown("10.0.0.0/8, 192.0.2.1"), ["10.0.0.0/8", "192.0.2.1/32"]);
        assert_eq!(shown("fd00::/8,::1"), ["::1/128", "fd00::/8"]);
        assert_eq!(shown(""), [""; 0]);
        assert_eq!(resolve(None).unwrap(), []);
    }

    #[test]
    fn what_is_no_network_is_named() {
        for said in ["proxy.internal", "10.0.0.0/33", "10.0.0.0/8,", "10.0.0.1:80"] {
            let why = resolve(Some(said)).unwrap_err().to_string();
            assert!(why.contains("--trusted-proxies = ") && why.contains("10.0.0.0/8 or"), "{why}");
        }
        let many: Vec<_> = (0..=PROXIES_MOST).map(|host| format!("10.0.{}.{}", host / 256, host % 256)).collect();
        let why = resolve(Some(&many.join(","))).unwrap_err().to_string();
        assert!(why.contains("at most 256"), "{why}");
    }
}
