//! Certificates of the listeners: read from files, swapped by a reload, used by the next handshake.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use crate::config::ListenerTls;
use crate::runtime::BuildError;

/// What one listener shows and asks for. Clones share the same cells.
#[derive(Debug, Clone)]
pub struct Certificates {
    key: Arc<ServerKey>,
    clients: Option<Arc<Clients>>,
}

/// Files of one listener, read and checked, not yet in force.
#[derive(Debug)]
pub struct Loaded {
    key: Arc<CertifiedKey>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

#[derive(Debug)]
struct ServerKey(ArcSwap<CertifiedKey>);

#[derive(Debug)]
struct Clients(ArcSwap<Arc<dyn ClientCertVerifier>>);

/// Reads the files of `tls`; what is wrong with which file is in the error.
pub fn load(tls: &ListenerTls) -> Result<Loaded, BuildError> {
    let provider = provider();
    let chain = certificates(&tls.cert)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| file(&tls.key, &error))?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| file(&tls.key, &error))?;
    let certified = CertifiedKey::new(chain, key);
    certified
        .keys_match()
        .map_err(|error| file(&tls.key, &format!("does not fit {}: {error}", tls.cert.display())))?;
    let clients = tls.client_ca.as_deref().map(client_verifier).transpose()?;
    Ok(Loaded { key: Arc::new(certified), clients })
}

fn client_verifier(ca: &Path) -> Result<Arc<dyn ClientCertVerifier>, BuildError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| file(ca, &error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| file(ca, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BuildError> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| file(path, &error))?.collect();
    let chain = chain.map_err(|error| file(path, &error))?;
    if chain.is_empty() {
        return Err(file(path, &"no certificate in this file; it must hold PEM blocks BEGIN CERTIFICATE"));
    }
    Ok(chain)
}

fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default()
        .map_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()), Arc::clone)
}

fn file(path: &Path, why: &dyn std::fmt::Display) -> BuildError {
    BuildError::File { path: path.to_owned(), why: why.to_string() }
}

impl Certificates {
    pub fn new(loaded: Loaded) -> Certificates {
        Certificates {
            key: Arc::new(ServerKey(ArcSwap::new(loaded.key))),
            clients: loaded.clients.map(|clients| Arc::new(Clients(ArcSwap::from_pointee(clients)))),
        }
    }

    /// Puts new files in force. Whether clients must show certificates at all is fixed at start.
    pub fn swap(&self, loaded: Loaded) {
        self.key.0.store(loaded.key);
        if let (Some(cell), Some(clients)) = (&self.clients, loaded.clients) {
            cell.0.store(Arc::new(clients));
        }
    }

    /// A whole server configuration of these cells, HTTP/1.1 only: for the admin listener.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
        let builder =
            rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match self.verifier() {
            Some(clients) => builder.with_client_cert_verifier(clients),
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(builder.with_cert_resolver(self.resolver())))
    }

    pub fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.key) as Arc<dyn ResolvesServerCert>
    }

    pub fn verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.clients.clone().map(|clients| clients as Arc<dyn ClientCertVerifier>)
    }
}

impl ResolvesServerCert for ServerKey {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[] // the list could change under a running handshake; clients choose without it
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.load().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.load().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.load().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().supported_verify_schemes()
    }
}
