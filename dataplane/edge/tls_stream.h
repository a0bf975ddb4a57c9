#pragma once
// TLS of one connection, by OpenSSL without its I/O: records are read from where they were received and written into
// output chunks. Inner part of Transport. Owner thread.

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "edge/tls_context.h"
#include "edge/transport_events.h"
#include "edge/transport_memory.h"
#include "edge/transport_output.h"

namespace slipway {

struct TlsInfo {
  std::string version;       // "TLSv1.3"; empty: no TLS
  std::string cipher;
  std::string alpn;          // empty: none was selected
  std::string peer_subject;  // of its certificate; empty: it gave none
  std::string peer_uri;      // the URI that its certificate names it by; empty: none, or more than one
  bool resumed = false;
};

class TlsStream {
 public:
  // Records go to `output`, or through `outer` where there is one: it must be ready, and is this stream's from then on.
  // nullptr: no memory.
  static std::unique_ptr<TlsStream> create(std::shared_ptr<const TlsContext> context, const std::string& server_name,
                                           TransportMemory& memory, OutputQueue& output, std::unique_ptr<TlsStream> outer = nullptr);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  void start();  // a client's first bytes
  // Records as received; looked at until they are used up or the next call.
  void give(std::span<const std::byte> bytes) { outer_ == nullptr ? input_ = bytes : outer_->input_ = bytes; }
  [[nodiscard]] std::size_t left() const { return outer_ == nullptr ? input_.size() : outer_->input_.size(); }
  // Decrypted bytes into `out`: how many; 0: needs more input, or the peer closed, or failed.
  [[nodiscard]] std::size_t read(std::span<std::byte> out);
  // Decrypted bytes wait for room.
  [[nodiscard]] bool pending() const { return SSL_pending(ssl_) > 0 || (outer_ != nullptr && outer_->pending()); }
  // All of it at once, as records however many wait.
  bool write(std::span<const std::byte> bytes);
  // Takes from `plain` while less than `limit` bytes of records wait.
  void encrypt(OutputQueue& plain, std::size_t limit);
  void close();  // close_notify

  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] bool peer_closed() const { return peer_closed_; }
  [[nodiscard]] bool failed() const { return error_.fault != TransportFault::kNone; }
  [[nodiscard]] const TransportError& error() const { return error_; }
  [[nodiscard]] TlsInfo info() const;

 private:
  TlsStream(std::shared_ptr<const TlsContext> context, TransportMemory& memory, OutputQueue& output, std::unique_ptr<TlsStream> outer)
      : context_(std::move(context)), memory_(memory), output_(output), outer_(std::move(outer)) {}
  void fail();
  void check(int result);
  static const BIO_METHOD* method();
  static int on_read(BIO* bio, char* to, int bytes);
  static int on_write(BIO* bio, const char* from, int bytes);

  std::shared_ptr<const TlsContext> context_;
  TransportMemory& memory_;
  OutputQueue& output_;
  std::unique_ptr<TlsStream> outer_;  // to a proxy, of which this stream is the tunnel's; one deep
  SSL* ssl_ = nullptr;
  std::span<const std::byte> input_;
  TransportError error_;
  bool ready_ = false;
  bool peer_closed_ = false;
  bool no_memory_ = false;
  bool received_ = false;  // a valid record came: garbage later is no cleartext client
};

}  // namespace slipway
