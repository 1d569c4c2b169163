use std::fs;
use std::path::Path;
use std::sync::Arc;

use pingora_core::protocols::tls::CaType;
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tollgate_filters::conf::{KeyPath, Problem};

use crate::config::Provider;

/// A provider's own CA and client certificate, parsed and checked.
#[derive(Clone, Default)]
pub(super) struct ProviderTls {
    pub(super) ca: Option<Arc<CaType>>,
    pub(super) client: Option<Arc<CertKey>>,
    /// For probes, which speak through another client: the same files as they were read.
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) client_pem: Option<Vec<u8>>,
    /// Changes with any of the files: connections made under the old ones are not used again.
    pub(super) fingerprint: u64,
}

impl ProviderTls {
    /// Reads the provider's files. `at` is the provider's place in the configuration.
    pub(super) fn read(provider: &Provider, at: &KeyPath, problems: &mut Vec<Problem>) -> ProviderTls {
        let mut tls = ProviderTls::default();
        let mut hash = blake3::Hasher::new();
        let mut roots = rustls::RootCertStore::empty();
        if let Some(file) = &provider.ca {
            match certificates(file).and_then(|(pem, certs)| {
                for cert in &certs {
                    roots
                        .add(cert.clone())
                        .map_err(|cause| format!("{}: not usable as a CA: {cause}", file.display()))?;
                }
                Ok((pem, wrap(&certs, file)?))
            }) {
                Ok((pem, ca)) => {
                    hash.update(&pem);
                    tls.ca_pem = Some(pem);
                    tls.ca = Some(Arc::from(ca));
                }
                Err(message) => problems.push(Problem::new(at.key("ca"), message)),
            }
        }
        if let (Some(cert), Some(key)) = (&provider.client_cert, &provider.client_key) {
            match client(cert, key, roots) {
                Ok((pem, client)) => {
                    hash.update(&pem);
                    tls.client_pem = Some(pem);
                    tls.client = Some(Arc::new(client));
                }
                Err((field, message)) => problems.push(Problem::new(at.key(field), message)),
            }
        }
        let (word, _) = hash
            .finalize()
            .as_bytes()
            .split_first_chunk::<8>()
            .map(|(w, r)| (*w, r.len()))
            .unwrap_or_default();
        tls.fingerprint = u64::from_le_bytes(word);
        tls
    }
}

fn certificates(file: &Path) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), String> {
    let pem = fs::read(file).map_err(|cause| format!("{}: {cause}", file.display()))?;
    let certs: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|cause| format!("{}: not PEM: {cause}", file.display()))?;
    if certs.is_empty() {
        return Err(format!(
            "{}: holds no certificate; give a PEM file with BEGIN CERTIFICATE",
            file.display()
        ));
    }
    Ok((pem, certs))
}

fn client(
    cert: &Path,
    key: &Path,
    roots: rustls::RootCertStore,
) -> Result<(Vec<u8>, CertKey), (&'static str, String)> {
    let (mut pem, chain) = certificates(cert).map_err(|message| ("client_cert", message))?;
    let of_key = |cause: String| ("client_key", format!("{}: {cause}", key.display()));
    let key_pem = fs::read(key).map_err(|cause| of_key(cause.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|cause| of_key(format!("no private key in it: {cause}")))?;
    // The same step that a connection takes, where its failure would be a panic.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| of_key(cause.to_string()))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.clone(), key.clone_key())
        .map_err(|cause| of_key(format!("does not fit {}: {cause}", cert.display())))?;
    wrap(&chain, cert).map_err(|message| ("client_cert", message))?;
    pem.push(b'\n');
    pem.extend_from_slice(&key_pem);
    let chain = chain.iter().map(|cert| cert.to_vec()).collect();
    Ok((pem, CertKey::new(chain, key.secret_der().to_vec())))
}

/// Pingora's parser panics on what it cannot read; here that is a problem to report, found before it is asked on a connection.
fn wrap(certs: &[CertificateDer<'_>], file: &Path) -> Result<Box<[WrappedX509]>, String> {
    let parse = || certs.iter().map(|cert| WrappedX509::new(cert.to_vec(), parse_x509)).collect();
    std::panic::catch_unwind(parse).map_err(|_| format!("{}: not an X.509 certificate", file.display()))
}
