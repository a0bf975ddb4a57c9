#pragma once
// What no endpoint can do without for a message of a group of suite 2: its sender signs it and seals it once, each receiver opens it
// and verifies the signature. Through kept OpenSSL objects; every message with a key of its own, as MLS has it.

#include <cstddef>
#include <memory>

namespace slipway::bench {

class MessageFloor {
 public:
  // `payload_bytes` of the application; what MLS signs and seals besides is added (message_floor.cc).
  explicit MessageFloor(std::size_t payload_bytes);
  ~MessageFloor();
  MessageFloor(const MessageFloor&) = delete;
  MessageFloor& operator=(const MessageFloor&) = delete;

  void send();     // one signature, one seal
  void receive();  // one open, one verification

 private:
  struct Objects;
  std::unique_ptr<Objects> objects_;
};

}  // namespace slipway::bench
