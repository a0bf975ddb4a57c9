#pragma once
// Certificates, keys and rules of TLS for one listener or one client entry: loaded once, shared by its connections.
// A reload loads a new one for new connections; those that are open keep theirs.
//
// load() reads files: control thread. The context itself may be used from any thread.

#include <openssl/ssl.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <string>

namespace slipway {

// PEM from a file or given as text; both empty: none.
struct TlsSource {
  std::string file;
  std::string pem;
  [[nodiscard]] bool given() const { return !file.empty() || !pem.empty(); }
};

enum class TlsVersion : std::uint8_t { k12, k13 };

struct TlsOptions {
  bool server = true;
  TlsSource certificate;             // with its intermediates, if any; a client's: for mTLS
  TlsSource key;
  TlsSource ca;                      // server: who signs clients' certificates, and they are required;
                                     //   client: trusted besides the system's
  bool system_roots = true;          // client
  bool skip_verify = false;          // client: takes any certificate
  TlsVersion min_version = TlsVersion::k13;
  TlsVersion max_version = TlsVersion::k13;
  std::string alpn = "h2";           // offered; a server selects it when offered, and takes clients that offer nothing
  std::string groups;                // key exchange groups in OpenSSL's notation; empty: its default
  bool tickets = true;               // sessions are resumed
};

class TlsContext {
 public:
  // The error names the file or text and says what to do.
  [[nodiscard]] static std::expected<std::shared_ptr<const TlsContext>, std::string> load(const TlsOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  [[nodiscard]] bool server() const { return options_.server; }
  [[nodiscard]] bool verifies() const { return !options_.skip_verify && (!options_.server || options_.ca.given()); }
  [[nodiscard]] bool wants_client_certificate() const { return options_.server && options_.ca.given(); }
  // A new connection; nullptr: no memory. A client's resumes the last session with `server_name`, if there is one.
  [[nodiscard]] SSL* connect(const std::string& server_name) const;

 private:
  explicit TlsContext(TlsOptions options);
  std::expected<void, std::string> fill();
  static int on_alpn(SSL*, const unsigned char** out, unsigned char* out_bytes, const unsigned char* in, unsigned int in_bytes, void* self);
  static int on_session(SSL* ssl, SSL_SESSION* session);

  TlsOptions options_;
  SSL_CTX* context_ = nullptr;
  std::string alpn_wire_;
  mutable std::mutex session_mutex_;  // taken at handshakes only
  mutable SSL_SESSION* session_ = nullptr;
  mutable std::string session_name_;
};

}  // namespace slipway
