#include "edge/tls_stream.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

namespace slipway {
namespace {

constexpr std::size_t kRecordBytes = 16u << 10;  // most that one TLS record carries

struct FreeNames {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};

// A workload's name in its certificate (SPIFFE). Of several nobody could say which it is.
std::string only_uri(X509* certificate) {
  const std::unique_ptr<GENERAL_NAMES, FreeNames> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string uri;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {  // of none: -1
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) {
      continue;
    }
    if (!uri.empty()) {
      return {};
    }
    const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
    uri.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<std::size_t>(ASN1_STRING_length(text)));
  }
  return uri;
}

}  // namespace

const BIO_METHOD* TlsStream::method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "slipway edge");
    if (m != nullptr) {
      BIO_meth_set_read(m, on_read);
      BIO_meth_set_write(m, on_write);
      BIO_meth_set_ctrl(m, [](BIO*, int command, long, void*) -> long { return command == BIO_CTRL_FLUSH ? 1 : 0; });
      BIO_meth_set_create(m, [](BIO* bio) {
        BIO_set_init(bio, 1);
        return 1;
      });
    }
    return m;
  }();
  return method;
}

std::unique_ptr<TlsStream> TlsStream::create(std::shared_ptr<const TlsContext> context, const std::string& server_name,
                                             TransportMemory& memory, OutputQueue& output, std::unique_ptr<TlsStream> outer) {
  const OpensslMemoryScope scope(&memory.account());
  const BIO_METHOD* bio_method = method();
  std::unique_ptr<TlsStream> stream(new (std::nothrow) TlsStream(context, memory, output, std::move(outer)));
  if (stream == nullptr || bio_method == nullptr) {
    return nullptr;
  }
  stream->ssl_ = context->connect(server_name);
  BIO* bio = stream->ssl_ == nullptr ? nullptr : BIO_new(bio_method);
  if (bio == nullptr) {
    ERR_clear_error();
    return nullptr;
  }
  BIO_set_data(bio, stream.get());
  SSL_set_bio(stream->ssl_, bio, bio);
  return stream;
}

TlsStream::~TlsStream() {
  if (ssl_ != nullptr && !failed()) {
    // However the connection ended, its session may be resumed: OpenSSL forbids that without this.
    SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  }
  SSL_free(ssl_);
  ERR_clear_error();
}

int TlsStream::on_read(BIO* bio, char* to, int bytes) {
  auto& self = *static_cast<TlsStream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  std::size_t taken = 0;
  if (self.outer_ != nullptr) {
    taken = self.outer_->read(std::as_writable_bytes(std::span(to, static_cast<std::size_t>(bytes))));
    if (taken == 0 && (self.outer_->failed() || self.outer_->peer_closed())) {
      return self.outer_->failed() ? -1 : 0;
    }
  } else if (!self.input_.empty()) {
    taken = std::min(self.input_.size(), static_cast<std::size_t>(bytes));
    std::memcpy(to, self.input_.data(), taken);
    self.input_ = self.input_.subspan(taken);
  }
  if (taken == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  return static_cast<int>(taken);
}

int TlsStream::on_write(BIO* bio, const char* from, int bytes) {
  auto& self = *static_cast<TlsStream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto records = std::as_bytes(std::span(from, static_cast<std::size_t>(bytes)));
  if (self.outer_ != nullptr ? !self.outer_->write(records) : !self.output_.append_copy(records)) {
    self.no_memory_ = self.outer_ == nullptr || self.outer_->no_memory_;
    return -1;
  }
  return bytes;
}

void TlsStream::start() {
  const OpensslMemoryScope scope(&memory_.account());
  ERR_clear_error();
  check(SSL_do_handshake(ssl_));
}

// Sorts out what OpenSSL's answer means.
void TlsStream::check(int result) {
  if (result <= 0) {
    const int why = SSL_get_error(ssl_, result);
    if (why == SSL_ERROR_ZERO_RETURN) {
      peer_closed_ = true;
    } else if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
      fail();
    }
  }
  if (!ready_ && !failed() && SSL_is_init_finished(ssl_) == 1) {
    ready_ = true;
  }
  ERR_clear_error();
}

std::size_t TlsStream::read(std::span<std::byte> out) {
  if (failed() || peer_closed_ || out.empty()) {
    return 0;
  }
  const OpensslMemoryScope scope(&memory_.account());
  ERR_clear_error();
  std::size_t got = 0;
  const std::size_t before = left();
  const int result = SSL_read_ex(ssl_, out.data(), std::min<std::size_t>(out.size(), 1u << 20), &got);
  check(result);
  received_ = received_ || (!failed() && before - left() > 5);
  return result == 1 ? got : 0;
}

bool TlsStream::write(std::span<const std::byte> bytes) {
  const OpensslMemoryScope scope(&memory_.account());
  ERR_clear_error();
  while (!bytes.empty() && !failed()) {
    std::size_t written = 0;
    const int result = SSL_write_ex(ssl_, bytes.data(), std::min(bytes.size(), kRecordBytes), &written);
    check(result);
    if (result != 1) {
      return false;
    }
    bytes = bytes.subspan(written);
  }
  return !failed();
}

void TlsStream::encrypt(OutputQueue& plain, std::size_t limit) {
  if (!ready_ || failed()) {
    return;
  }
  std::array<std::byte, kRecordBytes> record;
  while (plain.bytes() > 0 && output_.bytes() < limit && !failed()) {
    std::span<const std::byte> bytes = plain.front();
    if (bytes.size() < kRecordBytes && bytes.size() < plain.bytes()) {
      bytes = std::span(record).first(plain.peek(record));
    }
    bytes = bytes.first(std::min(bytes.size(), kRecordBytes));
    if (!write(bytes)) {
      break;
    }
    plain.consume(bytes.size());
  }
}

void TlsStream::close() {
  if (!ready_ || failed()) {
    return;
  }
  const OpensslMemoryScope scope(&memory_.account());
  ERR_clear_error();
  SSL_shutdown(ssl_);
  ERR_clear_error();
  if (outer_ != nullptr) {
    outer_->close();
  }
}

void TlsStream::fail() {
  if (outer_ != nullptr && outer_->failed()) {
    error_ = outer_->error();
    ERR_clear_error();
    return;
  }
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  const bool from_ssl = ERR_GET_LIB(code) == ERR_LIB_SSL;
  const char* text = ERR_reason_error_string(code);
  const std::string said = text == nullptr ? "no reason given" : text;
  if (no_memory_ || reason == ERR_R_MALLOC_FAILURE) {
    error_ = {TransportFault::kNoMemory, "No memory is left for TLS."};
  } else if (from_ssl && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    const long verdict = SSL_get_verify_result(ssl_);
    std::string hint;
    if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH) {
      hint = " Connect by a name that the certificate has, or set tls.server_name.";
    } else if (verdict == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY || verdict == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
               verdict == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT || verdict == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE) {
      hint = context_->server() ? " Add its CA to tls.client_ca." : " Add its CA to tls.ca_source.";
    } else if (verdict == X509_V_ERR_CERT_HAS_EXPIRED || verdict == X509_V_ERR_CERT_NOT_YET_VALID) {
      hint = " Renew it, or set the clock.";
    }
    error_ = {TransportFault::kTlsCertificate, fmt::format("The peer's certificate was refused: {}.{}", X509_verify_cert_error_string(verdict), hint)};
  } else if (from_ssl && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    error_ = {TransportFault::kTlsCertificate, "The peer gave no certificate, and this port asks for one (tls.client_ca): configure a client certificate there."};
  } else if (from_ssl && !received_ && (reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_WRONG_VERSION_NUMBER)) {
    error_ = {TransportFault::kPlainToTls, context_->server() ? "The peer speaks without TLS to a port that wants TLS: use https:// there."
                                                              : "The server does not speak TLS on this port: use http://, or configure TLS there."};
  } else if (from_ssl && reason >= SSL_AD_REASON_OFFSET) {
    error_ = {TransportFault::kTlsRefused, fmt::format("The peer refused the TLS handshake: {}.", said)};
  } else if (from_ssl && (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_VERSION_TOO_LOW)) {
    error_ = {TransportFault::kTlsProtocol, "The peer offers no TLS version that is allowed here: set tls.tls_version to tls1.2 if it must be."};
  } else {
    error_ = {TransportFault::kTlsProtocol, fmt::format("TLS failed: {}.", said)};
  }
  ERR_clear_error();
}

TlsInfo TlsStream::info() const {
  TlsInfo info;
  if (!ready_) {
    return info;
  }
  info.version = SSL_get_version(ssl_);
  info.cipher = SSL_get_cipher_name(ssl_);
  const unsigned char* alpn = nullptr;
  unsigned int alpn_bytes = 0;
  SSL_get0_alpn_selected(ssl_, &alpn, &alpn_bytes);
  info.alpn.assign(reinterpret_cast<const char*>(alpn), alpn_bytes);
  info.resumed = SSL_session_reused(ssl_) == 1;
  if (X509* certificate = SSL_get0_peer_certificate(ssl_); certificate != nullptr) {
    std::unique_ptr<BIO, decltype([](BIO* bio) { BIO_free(bio); })> text(BIO_new(BIO_s_mem()));
    if (text != nullptr && X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
      char* data = nullptr;
      const long bytes = BIO_get_mem_data(text.get(), &data);
      info.peer_subject.assign(data, static_cast<std::size_t>(bytes));
    }
    info.peer_uri = only_uri(certificate);
  }
  return info;
}

}  // namespace slipway
