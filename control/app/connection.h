#pragma once
// A connection to a node, shared by the applications of a process that were given it. Two kinds behind one face: native frames
// (tcp://, unix://, udp://) and upstream's protocol (http://, https://, grpc://, ws://, wss://).
//
// A node never sends a message back to the connection it came from, so applications on one connection find each other here:
// to one receiver the nearest comes first, to all both sides get it. A connection that is lost opens again by itself and
// subscribes everything again.
//
// Threads: all of it belongs to the loop's thread. Callbacks run inside Loop::turn, never inside the call that they answer.

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "app/app_error.h"
#include "frame/frame.h"
#include "loop/loop.h"

namespace slipway {

struct ConnectOptions {
  std::string address;              // scheme://…, see above
  std::string client_name;          // how the node shows us; empty: program and process id
  bool reconnect = true;            // false: a connection that is lost or was never up is closed for good
  // TLS, for https and wss. Files; empty: none.
  std::string ca_file;              // trusted besides the system's
  std::string certificate_file;     // of ours, with its key
  std::string key_file;
  std::string server_name;          // that the certificate must have; empty: the address's host
  bool skip_verify = false;         // take any certificate: for tests only
  std::string authorization;        // upstream protocol: value of that header, "Basic …" or "Bearer …"
};

enum class ConnectionState : std::uint8_t { kConnecting, kUp, kWaiting, kClosed };
[[nodiscard]] std::string_view connection_state_text(ConnectionState state);

enum class SendStatus : std::uint8_t {
  kQueued,   // taken; leaves at the end of the turn
  kFull,     // not taken: on_writable tells when to go on
  kDown,     // not taken: not connected
  kTooBig,   // not taken: larger than the connection takes
};

// One application on a connection.
class AppPort {
 public:
  struct Handlers {
    std::function<void(std::span<const std::byte> frame)> on_frame;  // a publish; the bytes are valid during the call
    std::function<void()> on_writable;                               // after kFull
    std::function<void(ConnectionState state, const std::string& why)> on_state;
    std::function<void(const TextName& name, const std::string& why)> on_subscription_lost;  // refused after a reconnect
    std::function<void()> on_reuse;                                  // after hold: copy now what is still needed, and do nothing else
  };
  using Answer = std::function<void(std::expected<void, std::string>)>;

  virtual ~AppPort() = default;  // unsubscribes everything
  // `done` runs when the node has answered. Returns a number for unsubscribe. While not connected the answer waits.
  virtual std::uint64_t subscribe(const TextName& name, Answer done) = 0;
  virtual void unsubscribe(std::uint64_t subscription) = 0;
  // A publish. The header's source has our id. The body comes in two parts, which nobody has to join before.
  virtual SendStatus send(const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest) = 0;
  [[nodiscard]] virtual std::size_t max_frame_bytes() const = 0;
  // From inside of on_frame: the next frames had better come in the next turn.
  virtual void rest() {}
  // From inside of on_frame: true, the frame's bytes stay as they are until on_reuse is called or the port is gone.
  [[nodiscard]] virtual bool hold() { return false; }
};

class Connection {
 public:
  // Starts to connect. Error: the options make no sense.
  static std::expected<std::shared_ptr<Connection>, AppError> open(Loop& loop, ConnectOptions options);
  virtual ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // `name`: the application's full name. The connection outlives the port.
  virtual std::unique_ptr<AppPort> attach(const TextName& name, AppPort::Handlers handlers) = 0;
  [[nodiscard]] virtual ConnectionState state() const = 0;
  [[nodiscard]] virtual std::string trouble() const = 0;  // why it is not up; may be empty
  virtual void close() = 0;                               // for good
  [[nodiscard]] const std::string& address() const { return address_; }

 protected:
  explicit Connection(std::string address) : address_(std::move(address)) {}

 private:
  std::string address_;
};

// The two kinds; Connection::open chooses.
std::expected<std::shared_ptr<Connection>, AppError> open_native_connection(Loop& loop, const ConnectOptions& options);
std::expected<std::shared_ptr<Connection>, AppError> open_upstream_connection(Loop& loop, const ConnectOptions& options);

}  // namespace slipway
