//! Reads kubeconfig files, and finds the context in them.

use std::io::ErrorKind;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, KubeconfigError};

use super::error::SourceError;
use super::files::Files;

/// What a context names.
pub(super) struct Chosen {
    pub(super) cluster: Cluster,
    pub(super) user: AuthInfo,
}

/// Reads and merges files, of which some may be missing. `None`: all are.
pub(super) fn read(
    place: &str,
    paths: &[PathBuf],
    files: &mut Files,
) -> Result<Option<Kubeconfig>, SourceError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in paths {
        let bytes = match files.read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(SourceError::file(place, path, &error)),
        };
        let refused = |reason: String| SourceError::refused(place, format!("{}: {reason}", path.display()));
        let read = parse(&bytes, path).map_err(refused)?;
        merged = Some(match merged {
            None => read,
            Some(merged) => merged.merge(read).map_err(|error| refused(error.to_string()))?,
        });
    }
    Ok(merged)
}

/// The name of the context that is current, if none is named.
pub(super) fn current_context(kubeconfig: &Kubeconfig) -> Option<String> {
    kubeconfig.current_context.clone().filter(|name| !name.is_empty())
}

/// The cluster and the user of a context.
pub(super) fn choose(kubeconfig: &Kubeconfig, context: &str) -> Result<Chosen, String> {
    let Context { cluster, user, .. } = kubeconfig
        .contexts
        .iter()
        .find(|named| named.name == context)
        .and_then(|named| named.context.clone())
        .ok_or_else(|| format!("there is no context {context:?}"))?;
    let chosen = kubeconfig.clusters.iter().find(|named| named.name == cluster);
    let chosen = chosen.and_then(|named| named.cluster.clone());
    let chosen =
        chosen.ok_or_else(|| format!("there is no cluster {cluster:?}, which context {context:?} names"))?;
    let user = match user.filter(|user| !user.is_empty()) {
        None => AuthInfo::default(),
        Some(user) => kubeconfig
            .auth_infos
            .iter()
            .find(|named| named.name == user)
            .map(|named| named.auth_info.clone().unwrap_or_default())
            .ok_or_else(|| format!("there is no user {user:?}, which context {context:?} names"))?,
    };
    Ok(Chosen { cluster: chosen, user })
}

fn parse(bytes: &[u8], path: &Path) -> Result<Kubeconfig, String> {
    let text = decode(bytes).ok_or("it is not text")?;
    let mut kubeconfig = Kubeconfig::from_yaml(&text).map_err(|error| match error {
        // Its snippet of the file could show a token.
        KubeconfigError::Parse(error) => format!("not a kubeconfig: {}", error.without_snippet()),
        other => other.to_string(),
    })?;
    if let Some(folder) = path.parent() {
        resolve_paths(&mut kubeconfig, folder);
    }
    Ok(kubeconfig)
}

/// Decodes UTF-8, and UTF-16 as some shells of Windows write it.
fn decode(bytes: &[u8]) -> Option<String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// Relative paths count from the folder of the file that they are in.
fn resolve_paths(kubeconfig: &mut Kubeconfig, folder: &Path) {
    let resolve = |path: &mut Option<String>| {
        if let Some(path) = path.as_mut().filter(|path| !path.is_empty()) {
            // An absolute path replaces the folder.
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    };
    for named in &mut kubeconfig.clusters {
        if let Some(cluster) = &mut named.cluster {
            resolve(&mut cluster.certificate_authority);
        }
    }
    for named in &mut kubeconfig.auth_infos {
        if let Some(user) = &mut named.auth_info {
            resolve(&mut user.client_certificate);
            resolve(&mut user.client_key);
            resolve(&mut user.token_file);
            // A bare name is looked up in PATH.
            if let Some(exec) = user.exec.as_mut()
                && exec.command.as_ref().is_some_and(|command| command.contains(MAIN_SEPARATOR))
            {
                resolve(&mut exec.command);
            }
        }
    }
}
