//! `mailferry certs`: a certificate for trials, and the authority that signs it.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::ServerName;
use time::{Duration, OffsetDateTime};

use super::{DEFAULT_CONFIG, ExitCode, Failure};
use crate::config::{Config, ConfigError, Tls};

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry certs
  mailferry certs --name mail.example.com --name 192.0.2.7
  mailferry certs --dir /tmp/trial --days 30 --force

For real use, take a certificate that mail clients trust already, and name it in [tls].";

#[derive(Args, Debug)]
pub(super) struct CertsArgs {
    /// Where to write; by default where the configuration's [tls] expects cert and key, or `certs`
    /// if there is no configuration.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// A DNS name or IP address that clients connect to; may be given several times.
    #[arg(long = "name", value_name = "NAME", default_values = NAMES)]
    names: Vec<String>,

    /// For how many days the certificate is good. Apple's clients refuse more than 825.
    #[arg(long, default_value_t = 825, value_parser = clap::value_parser!(u16).range(1..=CA_DAYS))]
    days: u16,

    /// Replace files that are there already.
    #[arg(long)]
    force: bool,
}

/// Makes and writes the four files, and says how the authority is trusted.
pub(super) fn run(config: &Path, args: &CertsArgs) -> Result<ExitCode, Failure> {
    let paths = Paths::choose(config, args.dir.as_deref())?;
    paths.refuse_to_overwrite(args.force)?;
    let made = make(&args.names, args.days, OffsetDateTime::now_utc())?;
    paths.write(&made, args.force)?;
    // If nobody reads what is printed, the files are there all the same.
    let _ = paths.explain(&mut io::stdout().lock(), args);
    Ok(ExitCode::Done)
}

/// Where the four files go.
struct Paths {
    ca: PathBuf,
    ca_key: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Paths {
    fn choose(config: &Path, dir: Option<&Path>) -> Result<Paths, Failure> {
        let tls = match dir {
            Some(dir) => in_directory(dir),
            None => match Config::load_tls(config) {
                Ok(Some(tls)) => tls,
                Ok(None) => in_directory(&config.parent().unwrap_or(Path::new("")).join(DIRECTORY)),
                Err(ConfigError::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound
                        && config == Path::new(DEFAULT_CONFIG) =>
                {
                    in_directory(Path::new(DIRECTORY))
                }
                Err(error) => return Err(error.into()),
            },
        };
        let beside = tls.cert.parent().unwrap_or(Path::new("")).to_owned();
        let paths = Paths {
            ca: beside.join("ca.pem"),
            ca_key: beside.join("ca.key"),
            cert: tls.cert,
            key: tls.key,
        };
        let all = paths.all();
        for (n, path) in all.iter().enumerate() {
            if all.iter().skip(n + 1).any(|other| other == path) {
                return Err(Failure::usage(format!(
                    "{} would be written twice: [tls] cert and key must be two files, \
                     and not ca.pem or ca.key",
                    path.display()
                )));
            }
        }
        Ok(paths)
    }

    fn all(&self) -> [&Path; 4] {
        [&self.ca, &self.ca_key, &self.cert, &self.key]
    }

    fn refuse_to_overwrite(&self, force: bool) -> Result<(), Failure> {
        let there: Vec<String> = self
            .all()
            .into_iter()
            .filter(|path| path.symlink_metadata().is_ok())
            .map(|path| path.display().to_string())
            .collect();
        if there.is_empty() || force {
            return Ok(());
        }
        Err(Failure::failed(format!("{} would be overwritten", there.join(", ")))
            .next("write elsewhere by --dir, or replace by --force"))
    }

    fn write(&self, made: &Made, force: bool) -> Result<(), Failure> {
        for (path, pem, mode) in [
            (&self.ca, &made.ca, PUBLIC),
            (&self.ca_key, &made.ca_key, PRIVATE),
            (&self.cert, &made.cert, PUBLIC),
            (&self.key, &made.key, PRIVATE),
        ] {
            write(path, pem, mode, force).map_err(|error| {
                Failure::failed(format!("cannot write {}: {error}", path.display()))
            })?;
        }
        Ok(())
    }

    fn explain(&self, out: &mut impl Write, args: &CertsArgs) -> io::Result<()> {
        writeln!(
            out,
            "wrote {}   the certificate, for {}",
            self.cert.display(),
            args.names.join(", ")
        )?;
        writeln!(out, "wrote {}   its private key", self.key.display())?;
        writeln!(out, "wrote {}   the authority that signed it", self.ca.display())?;
        writeln!(out, "wrote {}   the authority's private key", self.ca_key.display())?;
        writeln!(out)?;
        writeln!(out, "In proxy.toml:")?;
        writeln!(out, "  [tls]")?;
        writeln!(out, "  cert = {:?}", self.cert)?;
        writeln!(out, "  key  = {:?}", self.key)?;
        writeln!(out)?;
        writeln!(out, "A client accepts the certificate once it trusts the authority:")?;
        writeln!(out, "  curl --cacert {} imaps://…", self.ca.display())?;
        writeln!(
            out,
            "  Debian: cp {} /usr/local/share/ca-certificates/mailferry.crt",
            self.ca.display()
        )?;
        writeln!(out, "          update-ca-certificates")?;
        writeln!(out, "  Thunderbird: Settings, Certificates, Authorities, Import")?;
        writeln!(out, "Whoever has the authority's key can pose as any server to those clients:")?;
        writeln!(out, "keep it secret, and stop trusting the authority when the trial is over.")
    }
}

fn in_directory(dir: &Path) -> Tls {
    Tls { cert: dir.join("proxy.pem"), key: dir.join("proxy.key") }
}

/// Four PEM texts.
struct Made {
    ca: String,
    ca_key: String,
    cert: String,
    key: String,
}

fn make(names: &[String], days: u16, now: OffsetDateTime) -> Result<Made, Failure> {
    for name in names {
        let bare = name.strip_prefix("*.").unwrap_or(name);
        if ServerName::try_from(bare).is_err() {
            return Err(Failure::usage(format!("--name {name:?} is no DNS name or IP address")));
        }
    }
    sign(names, days, now)
        .map_err(|error| Failure::failed(format!("cannot make the certificate: {error}")))
}

fn sign(names: &[String], days: u16, now: OffsetDateTime) -> Result<Made, rcgen::Error> {
    let mut ca = CertificateParams::new(Vec::new())?;
    // The date keeps two authorities apart where both were once trusted.
    ca.distinguished_name.push(DnType::CommonName, format!("Mailferry trial CA {}", now.date()));
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.not_before = now - CLOCK_SKEW;
    ca.not_after = now + Duration::days(CA_DAYS);
    let ca_key = KeyPair::generate()?;
    let ca_cert = ca.self_signed(&ca_key)?;
    let ca_key_pem = ca_key.serialize_pem();
    let issuer = Issuer::new(ca, ca_key);

    let mut cert = CertificateParams::new(names)?;
    cert.distinguished_name.push(DnType::CommonName, "Mailferry");
    cert.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    cert.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    cert.use_authority_key_identifier_extension = true;
    cert.not_before = now - CLOCK_SKEW;
    cert.not_after = now + Duration::days(days.into()) - CLOCK_SKEW;
    let key = KeyPair::generate()?;
    let signed = cert.signed_by(&key, &issuer)?;
    Ok(Made { ca: ca_cert.pem(), ca_key: ca_key_pem, cert: signed.pem(), key: key.serialize_pem() })
}

/// Writes a file whole or not at all, with its mode from the start.
fn write(path: &Path, pem: &str, mode: u32, force: bool) -> io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir)?;
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(dir)?;
    file.write_all(pem.as_bytes())?;
    match force {
        true => file.persist(path),
        false => file.persist_noclobber(path),
    }
    .map(drop)
    .map_err(|error| error.error)
}

/// What a trial on one machine is reached by.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Beside the configuration.
const DIRECTORY: &str = "certs";

/// Ten years: an authority is trusted by hand, once.
const CA_DAYS: i64 = 3650;

/// A client whose clock is behind must not see a certificate of tomorrow. It is taken off at the
/// end again, so that the certificate's whole life is the number of days asked for.
const CLOCK_SKEW: Duration = Duration::hours(1);

/// Readable to all.
const PUBLIC: u32 = 0o644;

/// Readable to its owner.
const PRIVATE: u32 = 0o600;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::base::Side;
    use crate::config::{Backend, Credentials, Endpoint, Security, Service};
    use crate::net::{self, ServerTls, Stream};

    fn args(dir: Option<&Path>, names: &[&str], force: bool) -> CertsArgs {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        CertsArgs { dir: dir.map(Path::to_owned), names, days: 30, force }
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_accepts_the_certificate() {
        let dir = tempfile::tempdir().unwrap();
        run(Path::new("unused"), &args(Some(dir.path()), &NAMES, false)).unwrap();
        let tls = ServerTls::load(&in_directory(dir.path())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            for _ in NAMES {
                let (tcp, _) = listener.accept().await.unwrap();
                let mut stream = tls.accept(Stream::Plain(tcp), PATIENCE).await.unwrap();
                stream.write_all(b"*").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        for name in NAMES {
            let backend = Backend {
                side: Side::New,
                imap: Endpoint {
                    host: "127.0.0.1".into(),
                    port,
                    security: Security::Tls,
                    service: Service::Imap,
                },
                submission: None,
                inbound: None,
                ca: Some(dir.path().join("ca.pem")),
                server_name: name.try_into().unwrap(),
                mask: Default::default(),
                quirks: Default::default(),
                compress: Default::default(),
                id_forward: false,
                read_only: false,
                credentials: Credentials::same(),
            };
            let mut stream = net::connect(&backend, PATIENCE).await.unwrap();
            let mut greeting = String::new();
            stream.read_to_string(&mut greeting).await.unwrap();
            assert_eq!(greeting, "*", "as {name}");
        }
        server.await.unwrap();
    }

    #[test]
    fn keys_are_private_and_nothing_is_overwritten_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("made/for/it");
        let run = |force| run(Path::new("unused"), &args(Some(&dir), &["localhost"], force));
        assert_eq!(run(false).unwrap(), ExitCode::Done);
        assert_eq!(mode(&dir.join("proxy.key")), PRIVATE);
        assert_eq!(mode(&dir.join("ca.key")), PRIVATE);
        assert_eq!(mode(&dir.join("proxy.pem")), PUBLIC);
        let key = || fs::read(dir.join("proxy.key")).unwrap();
        let first = key();
        assert!(run(false).is_err());
        assert_eq!(key(), first);
        run(true).unwrap();
        assert_ne!(key(), first);
        assert_eq!(mode(&dir.join("proxy.key")), PRIVATE);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 4, "a temporary file was left");
    }

    #[test]
    fn the_configuration_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("proxy.toml");
        let text = "[tls]\ncert = \"CERT\"\nkey = \"deep/my.key\"\n[[listen]]\nprotocol = \"imaps\"\n\
                    address = \"127.0.0.1:0\"\n[old]\nimap = \"imaps://a\"\n[new]\nimap = \"imaps://b\"\n";
        fs::write(&config, text.replace("CERT", "my.pem")).unwrap();
        run(&config, &args(None, &["localhost"], false)).unwrap();
        for file in ["my.pem", "deep/my.key", "ca.pem", "ca.key"] {
            assert!(dir.path().join(file).is_file(), "{file}");
        }
        fs::write(&config, text.replace("CERT", "deep/my.key")).unwrap();
        assert!(run(&config, &args(None, &["localhost"], true)).is_err());
        fs::write(&config, text.replace("CERT", "ca.pem")).unwrap();
        assert!(run(&config, &args(None, &["localhost"], true)).is_err());
    }

    #[test]
    fn names_that_no_certificate_can_bear() {
        let now = OffsetDateTime::now_utc();
        for name in ["", "a b", "*", "ä.example.com", "a..b", "*.*.example.com"] {
            assert!(make(&[name.to_owned()], 1, now).is_err(), "{name:?}");
        }
        for name in ["mail.example.com", "*.example.com", "192.0.2.7", "2001:db8::1"] {
            assert!(make(&[name.to_owned()], 1, now).is_ok(), "{name:?}");
        }
    }

    const PATIENCE: Duration = Duration::from_secs(20);
}
