#pragma once
// The connection of an application that lives inside the node, on the control thread: no socket, frames go straight to the
// workers and come straight from them (LinkTransport::kControl). One application a connection.
//
// Nothing is delivered inside a call: frames and answers wait until pump(), so that the node may hand them over from anywhere,
// also while the application is in the middle of a long key operation.
//
// hold() and release() make what is sent wait for something that must happen first: that a group's state is on disk before the
// world hears of it.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "app/connection.h"
#include "frame/body.h"

namespace slipway {

// What the node does for the application. It calls nothing back at once but LocalConnection::frame_in and answer_in.
class LocalWire {
 public:
  virtual ~LocalWire() = default;
  virtual void control(std::span<const std::byte> frame) = 0;   // Subscribe or Unsubscribe of this application
  virtual void publish(std::span<const std::byte> frame) = 0;
  [[nodiscard]] virtual bool busy() = 0;                        // the workers are far behind: send later
};

struct LocalCounters {
  std::uint64_t frames_in = 0;
  std::uint64_t frames_out = 0;
  std::uint64_t dropped_in = 0;    // too many waited
  std::uint64_t refused_out = 0;   // too much waited, or too large
};

class LocalConnection final : public Connection {
 public:
  explicit LocalConnection(LocalWire& wire) : Connection("inside the node"), wire_(wire) {}
  ~LocalConnection() override;

  // --- the application's side
  std::unique_ptr<AppPort> attach(const TextName& name, AppPort::Handlers handlers) override;
  [[nodiscard]] ConnectionState state() const override { return closed_ ? ConnectionState::kClosed : ConnectionState::kUp; }
  [[nodiscard]] std::string trouble() const override { return closed_ ? "the node stops" : ""; }
  void close() override { closed_ = true; }

  // --- the node's side
  void frame_in(std::span<const std::byte> frame);
  void answer_in(const SubscriptionAckBody& answer);
  // Hands over what waits, for at most `budget_ns` of `clock`. True: there is more to do soon.
  bool pump(const std::function<std::uint64_t()>& clock, std::uint64_t budget_ns);
  // What is sent from here on waits until release() of this number or a later one.
  std::uint64_t hold() { return ++held_; }
  void release(std::uint64_t number) { released_ = number > released_ ? number : released_; }

  [[nodiscard]] const LocalCounters& counters() const { return counters_; }
  [[nodiscard]] std::size_t waiting_in() const { return in_.size(); }
  [[nodiscard]] std::size_t waiting_out() const { return out_.size(); }

 private:
  class Port;
  struct Out {
    std::uint64_t after;
    FrameBytes frame;
  };
  SendStatus send(const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest);
  void send_out();

  LocalWire& wire_;
  Port* port_ = nullptr;
  std::deque<FrameBytes> in_;
  std::size_t in_bytes_ = 0;
  std::deque<SubscriptionAckBody> answers_;
  std::deque<Out> out_;
  std::size_t out_bytes_ = 0;
  std::uint64_t held_ = 0;
  std::uint64_t released_ = 0;
  bool closed_ = false;
  bool was_full_ = false;
  LocalCounters counters_;
};

}  // namespace slipway
