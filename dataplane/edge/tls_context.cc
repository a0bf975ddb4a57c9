#include "edge/tls_context.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <openssl/x509_vfy.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace slipway {
namespace {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, Deleter<BIO_free>>;
using X509Ptr = std::unique_ptr<X509, Deleter<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;

std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = ERR_reason_error_string(code);
  ERR_clear_error();
  return reason == nullptr ? "unknown error" : reason;
}

struct PemText {
  BioPtr bio;
  std::string name;  // for errors
};

std::expected<PemText, std::string> open_pem(const TlsSource& source, const char* what) {
  if (!source.file.empty()) {
    FILE* file = std::fopen(source.file.c_str(), "re");
    if (file == nullptr) {
      return std::unexpected(fmt::format("Cannot read the {} file {}: {}. Check the path and that the node may read it.", what,
                                         source.file, std::strerror(errno)));
    }
    return PemText{BioPtr(BIO_new_fp(file, BIO_CLOSE)), fmt::format("{} file {}", what, source.file)};
  }
  return PemText{BioPtr(BIO_new_mem_buf(source.pem.data(), static_cast<int>(source.pem.size()))), fmt::format("{} text", what)};
}

int no_password(char*, int, int, void*) { return 0; }  // never asks on a terminal

std::expected<std::vector<X509Ptr>, std::string> read_certificates(const TlsSource& source, const char* what) {
  auto pem = open_pem(source, what);
  if (!pem) {
    return std::unexpected(pem.error());
  }
  std::vector<X509Ptr> all;
  while (X509* certificate = PEM_read_bio_X509(pem->bio.get(), nullptr, no_password, nullptr)) {
    all.emplace_back(certificate);
  }
  const bool clean = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string reason = openssl_reason();
  if (all.empty() || !clean) {
    return std::unexpected(fmt::format("The {} has no valid certificate in PEM ({}).", pem->name, reason));
  }
  return all;
}

}  // namespace

TlsContext::TlsContext(TlsOptions options) : options_(std::move(options)) {}

TlsContext::~TlsContext() {
  SSL_SESSION_free(session_);
  SSL_CTX_free(context_);
}

std::expected<std::shared_ptr<const TlsContext>, std::string> TlsContext::load(const TlsOptions& options) {
  std::shared_ptr<TlsContext> context(new TlsContext(options));
  ERR_clear_error();
  if (auto filled = context->fill(); !filled) {
    ERR_clear_error();
    return std::unexpected(filled.error());
  }
  OPENSSL_cleanse(context->options_.key.pem.data(), context->options_.key.pem.size());
  return context;
}

namespace {

std::expected<void, std::string> use_certificate(SSL_CTX* context, const TlsOptions& options) {
  auto chain = read_certificates(options.certificate, "certificate");
  if (!chain) {
    return std::unexpected(chain.error());
  }
  if (SSL_CTX_use_certificate(context, chain->front().get()) != 1) {
    return std::unexpected(fmt::format("The certificate cannot be used: {}.", openssl_reason()));
  }
  for (std::size_t i = 1; i < chain->size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, (*chain)[i].get()) != 1) {
      return std::unexpected(fmt::format("An intermediate certificate cannot be used: {}.", openssl_reason()));
    }
  }
  if (!options.key.given()) {
    return std::unexpected("A certificate without its private key: give the key too.");
  }
  auto pem = open_pem(options.key, "private key");
  if (!pem) {
    return std::unexpected(pem.error());
  }
  const KeyPtr key(PEM_read_bio_PrivateKey(pem->bio.get(), nullptr, no_password, nullptr));
  if (key == nullptr) {
    return std::unexpected(fmt::format("The {} has no private key in PEM that can be read without a password ({}).", pem->name, openssl_reason()));
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    ERR_clear_error();
    return std::unexpected(fmt::format("The {} does not belong to the certificate.", pem->name));
  }
  return {};
}

std::expected<void, std::string> use_ca(SSL_CTX* context, const TlsOptions& options) {
  auto all = read_certificates(options.ca, "CA certificate");
  if (!all) {
    return std::unexpected(all.error());
  }
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const X509Ptr& certificate : *all) {
    X509_STORE_add_cert(store, certificate.get());
    if (options.server) {
      SSL_CTX_add_client_CA(context, certificate.get());
    }
  }
  return {};
}

int version_number(TlsVersion version) { return version == TlsVersion::k12 ? TLS1_2_VERSION : TLS1_3_VERSION; }

}  // namespace

std::expected<void, std::string> TlsContext::fill() {
  context_ = SSL_CTX_new(options_.server ? TLS_server_method() : TLS_client_method());
  if (context_ == nullptr || SSL_CTX_set_min_proto_version(context_, version_number(options_.min_version)) != 1 ||
      SSL_CTX_set_max_proto_version(context_, version_number(options_.max_version)) != 1) {
    return std::unexpected(fmt::format("TLS cannot be set up: {}.", openssl_reason()));
  }
  if (!options_.groups.empty() && SSL_CTX_set1_groups_list(context_, options_.groups.c_str()) != 1) {
    return std::unexpected(fmt::format("This OpenSSL ({}) does not have the key exchange groups {}.", OpenSSL_version(OPENSSL_VERSION), options_.groups));
  }
  SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(context_, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  if (options_.certificate.given()) {
    if (auto used = use_certificate(context_, options_); !used) {
      return used;
    }
  } else if (options_.server) {
    return std::unexpected("A TLS server needs a certificate and its private key: set tls.source, or tls.insecure for cleartext.");
  }
  if (options_.ca.given()) {
    if (auto used = use_ca(context_, options_); !used) {
      return used;
    }
  }
  if (!options_.server && options_.system_roots) {
    SSL_CTX_set_default_verify_paths(context_);
  }
  SSL_CTX_set_verify(context_, verifies() ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE, nullptr);
  alpn_wire_ = static_cast<char>(options_.alpn.size()) + options_.alpn;
  SSL_CTX_set_app_data(context_, this);
  if (options_.server) {
    SSL_CTX_set_alpn_select_cb(context_, on_alpn, this);
    static constexpr unsigned char kSessionContext[] = "slipway";
    SSL_CTX_set_session_id_context(context_, kSessionContext, sizeof(kSessionContext) - 1);
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);  // tickets only: the node keeps nothing for a client
    SSL_CTX_set_num_tickets(context_, options_.tickets ? 1 : 0);
  } else if (options_.tickets) {
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context_, on_session);
  }
  if (!options_.tickets) {
    SSL_CTX_set_options(context_, SSL_OP_NO_TICKET);
  }
  return {};
}

// Selects ours when the client offers it. One that offers only others is served without a selection, as upstream does.
int TlsContext::on_alpn(SSL*, const unsigned char** out, unsigned char* out_bytes, const unsigned char* in, unsigned int in_bytes, void* self) {
  const std::string& ours = static_cast<const TlsContext*>(self)->options_.alpn;
  for (unsigned int at = 0; at < in_bytes && at + 1 + in[at] <= in_bytes; at += 1u + in[at]) {
    if (in[at] == ours.size() && std::memcmp(in + at + 1, ours.data(), ours.size()) == 0) {
      *out = in + at + 1;
      *out_bytes = in[at];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_NOACK;
}

int TlsContext::on_session(SSL* ssl, SSL_SESSION* session) {
  const auto* self = static_cast<const TlsContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const std::lock_guard lock(self->session_mutex_);
  SSL_SESSION_free(self->session_);
  self->session_ = session;  // we own it from here
  self->session_name_ = name == nullptr ? "" : name;
  return 1;
}

SSL* TlsContext::connect(const std::string& server_name) const {
  SSL* ssl = SSL_new(context_);
  if (ssl == nullptr) {
    return nullptr;
  }
  if (options_.server) {
    SSL_set_accept_state(ssl);
    return ssl;
  }
  SSL_set_connect_state(ssl);
  bool fine = SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(alpn_wire_.data()), static_cast<unsigned int>(alpn_wire_.size())) == 0;
  if (!server_name.empty()) {
    X509_VERIFY_PARAM* rules = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(rules, server_name.c_str()) != 1) {  // an address has no SNI
      fine = fine && SSL_set_tlsext_host_name(ssl, server_name.c_str()) == 1 && SSL_set1_host(ssl, server_name.c_str()) == 1;
      SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    }
    ERR_clear_error();
  }
  {
    const std::lock_guard lock(session_mutex_);
    if (session_ != nullptr && session_name_ == server_name) {
      SSL_set_session(ssl, session_);
    }
  }
  if (!fine) {
    SSL_free(ssl);
    return nullptr;
  }
  return ssl;
}

}  // namespace slipway
