//! The golden table: each span as it must be exported, with every attribute that it has and none besides.

use calbridge_e2e::collector::{Attributes, Kind, Span, Value};

/// The version of the conventions that all names are from.
pub(super) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// What one attribute must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Is {
    Text(&'static str),
    Int(i64),
    AnyText,
    AnyInt,
}

/// One span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) name: &'static str,
    service: &'static str,
    kind: Kind,
    /// The name of its parent; empty for a root, and for a parent outside the spans at hand.
    parent: &'static str,
    attributes: &'static [(&'static str, Is)],
}

impl Expected {
    /// `all` are the spans among which its parent is.
    pub(super) fn is_met_by(&self, span: &Span, all: &[Span]) {
        let name = self.name;
        assert_eq!((span.name.as_str(), span.service().as_str(), span.kind), (name, self.service, self.kind));
        let parent = all.iter().find(|parent| parent.span_id == span.parent_id);
        assert_eq!(parent.map_or("", |parent| parent.name.as_str()), self.parent, "the parent of {name}");
        assert_eq!(span.status, 0, "{name}: a success leaves the status unset, {}", span.status_message);
        assert_eq!((span.scope.as_str(), span.schema_url.as_str()), ("calbridge", SCHEMA_URL), "{name}");
        assert!(span.end >= span.start, "{name}");
        assert_eq!(span.events, Vec::<String>::new(), "{name}: log lines are no span events");
        let found: Vec<_> = span.attributes.keys().map(String::as_str).collect();
        let mut wanted: Vec<_> = self.attributes.iter().map(|(key, _)| *key).collect();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "the attributes of {name}");
        for (key, is) in self.attributes {
            let value = &span.attributes[*key];
            let right = match (is, value) {
                (Is::Text(wanted), Value::Text(found)) => wanted == found,
                (Is::Int(wanted), Value::Int(found)) => wanted == found,
                (Is::AnyText, Value::Text(found)) => !found.is_empty(),
                (Is::AnyInt, Value::Int(_)) => true,
                _ => false,
            };
            assert!(right, "{name}: {key} is {value:?}, expected {is:?}");
        }
    }
}

/// What describes a process.
pub(super) fn is_resource(resource: &Attributes) {
    for (key, wanted) in [
        ("service.namespace", "calbridge"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("deployment.environment.name", "test"),
        ("telemetry.sdk.name", "opentelemetry"),
        ("telemetry.sdk.language", "rust"),
    ] {
        assert_eq!(resource[key], Value::Text(wanted.to_owned()), "{key}");
    }
    assert_eq!(resource["service.instance.id"].to_string().len(), 36, "a UUID");
    assert!(resource.contains_key("telemetry.sdk.version"));
}

const ADAPTER: &str = "calbridge-adapter";
const SERVICE: &str = "calbridge-service";
const POST: &str = "POST /webhooks/calcom/{tenant}";

macro_rules! server_attributes {
    ($path:expr, $status:expr, [$($more:expr),* $(,)?]) => {
        &[
            ("http.request.method", Is::Text("POST")),
            ("http.route", Is::Text("/webhooks/calcom/{tenant}")),
            ("http.request.body.size", Is::AnyInt),
            ("http.response.status_code", Is::Int($status)),
            ("url.path", Is::Text($path)),
            ("url.scheme", Is::Text("http")),
            ("network.protocol.name", Is::Text("http")),
            ("network.protocol.version", Is::Text("1.1")),
            ("network.peer.address", Is::Text("127.0.0.1")),
            ("network.peer.port", Is::AnyInt),
            ("server.address", Is::Text("127.0.0.1")),
            ("server.port", Is::AnyInt),
            $($more),*
        ]
    };
}

macro_rules! accepted {
    ($outcome:expr) => {
        Expected {
            name: POST,
            service: ADAPTER,
            kind: Kind::Server,
            parent: "",
            attributes: server_attributes!(
                "/webhooks/calcom/default",
                200,
                [
                    ("user_agent.original", Is::Text("node")),
                    ("calbridge.tenant.id", Is::Text("default")),
                    ("calbridge.secret.id", Is::Text("literal:1")),
                    ("calbridge.trigger", Is::Text("BOOKING_CREATED")),
                    ("calbridge.webhook.version", Is::Text("2021-10-20")),
                    ("calbridge.delivery.id", Is::AnyText),
                    ("calbridge.delivery.disposition", Is::Text("accepted")),
                    ("calbridge.delivery.outcome", Is::Text($outcome)),
                ]
            ),
        }
    };
}

macro_rules! process {
    ($outcome:expr, $level:expr $(, $more:expr)*) => {
        Expected {
            name: "process bookings",
            service: SERVICE,
            kind: Kind::Consumer,
            parent: "send ingest",
            attributes: &[
                ("messaging.system", Is::Text("calbridge")),
                ("messaging.operation.name", Is::Text("process")),
                ("messaging.operation.type", Is::Text("process")),
                ("messaging.destination.name", Is::Text("bookings")),
                ("messaging.message.id", Is::AnyText),
                ("calbridge.tenant.id", Is::Text("default")),
                ("calbridge.secret.id", Is::Text("literal:1")),
                ("calbridge.trigger", Is::Text("BOOKING_CREATED")),
                ("calbridge.webhook.version", Is::Text("2021-10-20")),
                ("calbridge.booking.uid", Is::Text("traceAAA")),
                ("calbridge.delivery.id", Is::AnyText),
                ("calbridge.delivery.disposition", Is::Text("accepted")),
                ("calbridge.delivery.outcome", Is::Text($outcome)),
                ("calbridge.dedupe.level", Is::Text($level)),
                ("calbridge.position", Is::AnyText),
                $($more),*
            ],
        }
    };
}

const VERIFY: Expected =
    Expected { name: "verify signature", service: ADAPTER, kind: Kind::Internal, parent: POST, attributes: &[] };
const PARSE: Expected =
    Expected { name: "parse webhook", service: ADAPTER, kind: Kind::Internal, parent: POST, attributes: &[] };
const SEND: Expected = Expected {
    name: "send ingest",
    service: ADAPTER,
    kind: Kind::Client,
    parent: POST,
    attributes: &[
        ("messaging.system", Is::Text("calbridge")),
        ("messaging.operation.name", Is::Text("send")),
        ("messaging.operation.type", Is::Text("send")),
        ("messaging.destination.name", Is::Text("ingest")),
        ("messaging.message.id", Is::AnyText),
        ("messaging.message.body.size", Is::AnyInt),
        ("server.address", Is::Text("127.0.0.1")),
        ("server.port", Is::AnyInt),
    ],
};
const TRANSITION: Expected = Expected {
    name: "record transition",
    service: SERVICE,
    kind: Kind::Internal,
    parent: "process bookings",
    attributes: &[
        ("calbridge.booking.uid", Is::Text("traceAAA")),
        ("calbridge.transition.rule", Is::Text("accepted")),
        ("calbridge.position", Is::AnyText),
        ("calbridge.source", Is::Text("webhook")),
    ],
};

/// A webhook that changed a booking.
pub(super) const APPLIED: &[Expected] =
    &[accepted!("applied"), VERIFY, PARSE, SEND, process!("applied", "none"), TRANSITION];

/// The same body again, recognised by Redis and confirmed by the store.
pub(super) const DUPLICATE: &[Expected] = &[
    accepted!("duplicate"),
    VERIFY,
    PARSE,
    SEND,
    process!("duplicate", "transport", ("calbridge.dedupe.layer", Is::Text("redis"))),
];

/// A webhook that was answered when the spool had it, and typed on its way from there.
pub(super) const SPOOLED: &[Expected] = &[
    Expected {
        name: POST,
        service: ADAPTER,
        kind: Kind::Server,
        parent: "",
        attributes: server_attributes!(
            "/webhooks/calcom/default",
            202,
            [
                ("user_agent.original", Is::Text("node")),
                ("calbridge.tenant.id", Is::Text("default")),
                ("calbridge.secret.id", Is::Text("literal:1")),
                ("calbridge.trigger", Is::Text("BOOKING_CREATED")),
                ("calbridge.webhook.version", Is::Text("2021-10-20")),
                ("calbridge.delivery.disposition", Is::Text("untyped")),
            ]
        ),
    },
    VERIFY,
    Expected {
        name: "append spool",
        service: ADAPTER,
        kind: Kind::Producer,
        parent: POST,
        attributes: &[
            ("messaging.system", Is::Text("calbridge")),
            ("messaging.operation.name", Is::Text("append")),
            ("messaging.operation.type", Is::Text("create")),
            ("messaging.destination.name", Is::Text("spool")),
            ("messaging.message.id", Is::AnyText),
            ("messaging.message.body.size", Is::AnyInt),
        ],
    },
    Expected { parent: "append spool", ..PARSE },
    Expected { parent: "append spool", ..process!("applied", "none") },
    TRANSITION,
];

const INGEST_ROUND: Expected = Expected {
    name: "ingest round",
    service: SERVICE,
    kind: Kind::Internal,
    parent: "",
    attributes: &[
        ("messaging.system", Is::Text("calbridge")),
        ("messaging.operation.name", Is::Text("round")),
        ("messaging.batch.message_count", Is::Int(1)),
    ],
};

macro_rules! redis {
    ($name:expr) => {
        Expected {
            name: $name,
            service: SERVICE,
            kind: Kind::Client,
            parent: "ingest round",
            attributes: &[
                ("db.system.name", Is::Text("redis")),
                ("db.namespace", Is::Text("0")),
                ("db.operation.name", Is::Text($name)),
                ("server.address", Is::Text("127.0.0.1")),
                ("server.port", Is::AnyInt),
            ],
        }
    };
}

macro_rules! sqlite {
    ($operation:expr, $name:expr) => {
        Expected {
            name: $name,
            service: SERVICE,
            kind: Kind::Client,
            parent: "ingest round",
            attributes: &[
                ("db.system.name", Is::Text("sqlite")),
                ("db.namespace", Is::Text("calbridge.db")),
                ("db.operation.name", Is::Text($operation)),
                ("db.collection.name", Is::Text("deliveries")),
                ("db.query.summary", Is::Text($name)),
            ],
        }
    };
}

/// Redis is asked, the store commits, Redis is told.
pub(super) const ROUND: &[Expected] =
    &[INGEST_ROUND, redis!("MGET"), sqlite!("COMMIT", "COMMIT deliveries"), redis!("PIPELINE SET")];

/// Redis knows it, the store confirms it and notes that it came again.
pub(super) const ROUND_OF_A_DUPLICATE: &[Expected] =
    &[INGEST_ROUND, redis!("MGET"), sqlite!("SELECT", "SELECT deliveries"), sqlite!("COMMIT", "COMMIT deliveries")];

/// A wrong signature for a tenant that exists.
pub(super) const FORGED: &[Expected] = &[
    Expected {
        name: POST,
        service: ADAPTER,
        kind: Kind::Server,
        parent: "",
        attributes: server_attributes!("/webhooks/calcom/default", 401, [("calbridge.tenant.id", Is::Text("default"))]),
    },
    VERIFY,
];

/// A tenant that does not exist: not even its name is shown.
pub(super) const UNKNOWN_TENANT: &[Expected] = &[
    Expected {
        name: POST,
        service: ADAPTER,
        kind: Kind::Server,
        parent: "",
        attributes: server_attributes!("/webhooks/calcom/{tenant}", 401, []),
    },
    VERIFY,
];

/// A read that found nothing, of a caller that traces.
pub(super) const GET_BOOKING: Expected = Expected {
    name: "calbridge.v1.BookingService/GetBooking",
    service: SERVICE,
    kind: Kind::Server,
    parent: "",
    attributes: &[
        ("rpc.system.name", Is::Text("grpc")),
        ("rpc.method", Is::Text("calbridge.v1.BookingService/GetBooking")),
        ("rpc.response.status_code", Is::Text("NOT_FOUND")),
    ],
};

/// The stream as the adapter sees it.
pub(super) const STREAM_CLIENT: Expected = Expected {
    name: "calbridge.v1.IngestService/SubmitEvents",
    service: ADAPTER,
    kind: Kind::Client,
    parent: "",
    attributes: &[
        ("rpc.system.name", Is::Text("grpc")),
        ("rpc.method", Is::Text("calbridge.v1.IngestService/SubmitEvents")),
        ("rpc.response.status_code", Is::Text("OK")),
        ("server.address", Is::Text("127.0.0.1")),
        ("server.port", Is::AnyInt),
    ],
};

/// The stream as the service sees it.
pub(super) const STREAM_SERVER: Expected = Expected {
    name: "calbridge.v1.IngestService/SubmitEvents",
    service: SERVICE,
    kind: Kind::Server,
    parent: "",
    attributes: &[
        ("rpc.system.name", Is::Text("grpc")),
        ("rpc.method", Is::Text("calbridge.v1.IngestService/SubmitEvents")),
        ("rpc.response.status_code", Is::Text("OK")),
    ],
};

macro_rules! outlet {
    ($name:expr, $kind:expr, $operation:expr, $type:expr $(, $more:expr)*) => {
        Expected {
            name: $name,
            service: SERVICE,
            kind: $kind,
            parent: "",
            attributes: &[
                ("messaging.system", Is::Text("calbridge")),
                ("messaging.operation.name", Is::Text($operation)),
                ("messaging.operation.type", Is::Text($type)),
                ("messaging.destination.name", Is::Text("bookings.transitions")),
                ("messaging.batch.message_count", Is::Int(2)),
                ("calbridge.tenant.id", Is::Text("default")),
                $($more),*
            ],
        }
    };
}

const MAILS: (&str, Is) = ("messaging.consumer.group.name", Is::Text("mails"));

/// A part of the log on its way to a watch.
pub(super) const SEND_TO_A_WATCH: Expected = outlet!("send transitions", Kind::Producer, "send", "send");
/// And to a client of a consumer.
pub(super) const SEND_TO_A_CONSUMER: Expected = outlet!("send transitions", Kind::Producer, "send", "send", MAILS);
/// What such a client said.
pub(super) const ACK: Expected = outlet!("ack transitions", Kind::Client, "ack", "settle", MAILS);
