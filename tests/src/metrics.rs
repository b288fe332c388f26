//! Reading a `/metrics` page.

use std::net::SocketAddr;

use crate::webhook::Sender;

/// One page of metrics in Prometheus' text format.
#[derive(Debug, Clone)]
pub struct Page(String);

impl Page {
    /// Reads it from an admin listener.
    pub async fn read(admin: SocketAddr) -> Self {
        let answer = Sender::new(admin).get("/metrics").await;
        assert_eq!(answer.status, 200, "/metrics");
        Self(String::from_utf8(answer.body.to_vec()).unwrap())
    }

    /// The page as it is.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The sum of all samples of `name` whose labels hold every one of `labels` (`key="value"`).
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let samples = self.0.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| {
                let rest = line.strip_prefix(name)?;
                let (found, value) = match rest.strip_prefix('{') {
                    Some(rest) => rest.rsplit_once('}')?,
                    None => ("", rest.strip_prefix(' ').map(|_| rest)?),
                };
                labels.iter().all(|label| found.contains(label)).then(|| value.trim().parse::<f64>().ok())?
            })
            .sum()
    }

    /// Whether there is a metric of this name at all.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.lines().any(|line| line.strip_prefix("# TYPE ").is_some_and(|rest| rest.split(' ').next() == Some(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_what_fits() {
        let page = Page("# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\",y=\"3\"} 3\nab 7\na 10\n".to_owned());
        assert!((page.sum("a", &[]) - 15.0).abs() < f64::EPSILON);
        assert!((page.sum("a", &["x=\"2\""]) - 3.0).abs() < f64::EPSILON);
        assert!(page.has("a") && !page.has("ab"));
    }
}
