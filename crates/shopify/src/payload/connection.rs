//! GraphQL's lists of children.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// A connection, as `nodes`, as `edges`, or as a plain list.
#[derive(Debug)]
pub struct Connection<T> {
    /// In their order.
    pub nodes: Vec<T>,
    /// `pageInfo.hasNextPage`: it is not all.
    pub is_cut: bool,
}

impl<T> Default for Connection<T> {
    fn default() -> Self {
        Self { nodes: Vec::new(), is_cut: false }
    }
}

#[derive(Deserialize)]
struct Edge<T> {
    node: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    #[serde(default)]
    has_next_page: bool,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Connection<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nodes<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Nodes<T> {
            type Value = Connection<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a connection or a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Connection<T>, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = seq.next_element()? {
                    nodes.push(node);
                }
                Ok(Connection { nodes, is_cut: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Connection<T>, A::Error> {
                let mut connection = Connection::default();
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    match &*key {
                        // A document that selects both says everything twice.
                        "nodes" => connection.nodes = map.next_value()?,
                        "edges" => {
                            let edges: Vec<Edge<T>> = map.next_value()?;
                            connection.nodes = edges.into_iter().map(|edge| edge.node).collect();
                        }
                        "pageInfo" => connection.is_cut = map.next_value::<PageInfo>()?.has_next_page,
                        _ => {
                            map.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(connection)
            }
        }

        deserializer.deserialize_any(Nodes(std::marker::PhantomData))
    }
}
