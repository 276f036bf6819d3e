//! `verify`

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, bail};
use chrono::Utc;
use domain::ShopId;
use event_store::{Checkpoint, FaultKind, Trust, Verified, check_bundle, export, verify_with};
use serde_json::{Value, json};
use vault::SigningKeys;

use super::{FEW, output};
use crate::{
    args::VerifyArgs,
    config::Environment,
    session::{Schema, Session},
};

pub async fn run(environment: &Environment, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let mut trust = Trust { accepts_unknown_keys: args.accept_unknown_keys, ..Trust::default() };
    for text in &args.public_key {
        let key = public_key(text)?;
        trust.keys.push((vault::key_id(&key).context("it is no key")?, key));
    }
    if let Some(path) = &args.anchor {
        trust.anchors = anchors(path)?;
    }
    if let Some(path) = &args.bundle {
        return of_bundle(path, &trust, environment.json);
    }
    let session = Session::open(environment, FEW, Schema::Require).await?;
    let logs = session.logs(args.shop.as_ref()).await?;
    if let (Some(path), [(shop, name)]) = (&args.export, &logs[..]) {
        return write_bundle(environment, &session, *shop, name, path, args.accept_unknown_keys).await;
    }
    trust.keys.extend(environment.existing_signing_keys()?.iter().flat_map(SigningKeys::public));
    let mut all_good = true;
    for (shop, name) in logs {
        trust.check_anchors(shop)?;
        let mut along = output::Along::new(&name);
        let (head, _) = session.database.begin_reading(shop).await?.head().await?;
        let verified = verify_with(&session.database, shop, trust.clone(), |events| along.is_at(events, head)).await?;
        along.end();
        all_good &= told(environment.json, &name, &verified, json!({}));
    }
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what came of it, and whether all is well.
fn told(as_json: bool, what: &str, verified: &Verified, more: Value) -> bool {
    let (fault, hash) = (verified.fault.as_ref(), verified.hash_hex());
    if as_json {
        let mut answer = json!({
            "shop": what, "good_events": verified.events, "hash": hash,
            "checkpoints": verified.checkpoints, "signed_up_to": verified.signed_up_to,
            "unchecked_signatures": verified.unchecked_signatures, "unknown_key": verified.unknown_key,
            "fault": fault.map(|fault| json!({ "position": fault.position, "what": fault.kind.to_string() })),
        });
        if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
            answer.extend(more);
        }
        output::json(&answer);
    } else {
        output::line(match fault {
            None => format!(
                "{what}: {} events, unbroken, hash {hash}; {} checkpoints as they were signed, the last of position {}",
                verified.events,
                verified.checkpoints - verified.unchecked_signatures,
                verified.signed_up_to
            ),
            Some(fault) if fault.kind == FaultKind::UnknownKey => format!(
                "{what}: NOT PROVEN at position {}: {}; up to position {} it is as a known key signed it, and {} events agree with \
                 each other, hash {hash}",
                fault.position, fault.kind, verified.signed_up_to, verified.events
            ),
            Some(fault) => format!("{what}: BROKEN at position {}: {}", fault.position, fault.kind),
        });
        if let Some(key) = &verified.unknown_key {
            output::line(format!(
                "{what}: {} checkpoints are of keys that are not known here, the first one of key {key}: they were compared, and their \
                 signatures prove nothing. A key that signs no more is known by --public-key, or by `public:` and its public key behind \
                 the others in SIGNING_KEYS",
                verified.unchecked_signatures
            ));
        }
    }
    fault.is_none()
}

/// A key as it was given, or what is in the file of that name.
fn public_key(text: &str) -> anyhow::Result<String> {
    let parsed = vault::parse_public_key(text.trim()).or_else(|| {
        let in_file = fs::read_to_string(text).ok()?;
        vault::parse_public_key(in_file.trim())
    });
    parsed
        .with_context(|| format!("--public-key {text} is neither 32 bytes in base64 or hex nor a file that holds them"))
}

/// Checkpoints of a file.
fn anchors(path: &Path) -> anyhow::Result<Vec<Checkpoint>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let anchors: Result<Vec<Checkpoint>, _> = serde_json::Deserializer::from_str(&text).into_iter().collect();
    let anchors = anchors.with_context(|| format!("{} holds no checkpoints", path.display()))?;
    if anchors.is_empty() {
        bail!("{} holds no checkpoint", path.display());
    }
    Ok(anchors)
}

async fn write_bundle(
    environment: &Environment,
    session: &Session,
    shop: ShopId,
    name: &str,
    path: &Path,
    accepts_unknown_keys: bool,
) -> anyhow::Result<ExitCode> {
    let keys = environment.existing_signing_keys()?;
    let keys = keys.context("SIGNING_KEYS is not set: the bundle would be signed by a key that nobody knows")?;
    // Written aside: what is there under the name is whole.
    let mut aside = path.as_os_str().to_owned();
    aside.push(".part");
    let cannot = || format!("{} cannot be written", path.display());
    let mut out = BufWriter::new(File::create(&aside).with_context(cannot)?);
    let mut along = output::Along::new(name);
    let at = Utc::now();
    let exported = export(&session.database, shop, &keys, accepts_unknown_keys, at, &mut out, |events, of| {
        along.is_at(events, of);
    })
    .await;
    along.end();
    if exported.as_ref().is_ok_and(|verified| verified.fault.is_none()) {
        let file = out.into_inner().map_err(|error| error.into_error()).with_context(cannot)?;
        file.sync_all().with_context(cannot)?;
        fs::rename(&aside, path).with_context(cannot)?;
    } else {
        let _ = fs::remove_file(&aside);
    }
    let verified = exported?;
    let is_good = told(environment.json, name, &verified, json!({ "file": path.display().to_string() }));
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn of_bundle(path: &Path, trust: &Trust, as_json: bool) -> anyhow::Result<ExitCode> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let bar = output::progress("checking");
    bar.set_length(file.metadata()?.len());
    let checked = check_bundle(BufReader::with_capacity(256 * 1024, file), trust, |read| bar.set_position(read));
    bar.finish_and_clear();
    let checked = checked.with_context(|| format!("{} proves nothing", path.display()))?;
    let shop = checked.shop.to_string();
    let end = checked.end;
    let is_trusted = end.is_some() && !trust.keys.is_empty();
    let is_good = told(as_json, &shop, &checked.verified, json!({ "end": end, "signed_by_given_key": is_trusted }));
    if let Some(end) = end.filter(|_| !as_json) {
        let (key, at) = (end.key_id, end.at);
        output::line(if !is_trusted {
            format!(
                "{shop}: signed at {at} by key {key}, which the file names itself: compare by --public-key with one that you have from elsewhere"
            )
        } else {
            format!("{shop}: signed at {at} by the given key {key}")
        });
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
