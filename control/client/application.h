#pragma once
// One application on a link (link.h): its name, what it subscribes to, what it publishes and receives.

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "client/link.h"
#include "client/message.h"

namespace slipway {

enum class PublishStatus : std::uint8_t {
  kQueued,        // taken; it leaves at the end of the turn
  kQueueFull,     // not taken: the node takes bytes slower than we make them; on_writable tells when to go on
  kNotConnected,  // not taken: the link is not up
  kTooBig,        // not taken: larger than the link's other side takes
};
std::string_view publish_status_text(PublishStatus status);

enum class Receivers : std::uint8_t { kOne, kAll };  // anycast or unicast (by the id); channel

// Where messages go and what they all say, prepared once: a publish then costs a copy of it and of the payload.
class Destination {
 public:
  // `text`: carry both names as text, so that receivers can show them; costs their bytes in every message.
  Destination(const ClientApplication& from, const TextName& to, Receivers receivers, std::string_view payload_type = {}, bool text = true);
  [[nodiscard]] const Name& name() const { return name_; }
  [[nodiscard]] Receivers receivers() const { return receivers_; }

 private:
  friend class ClientApplication;
  Name name_;
  Receivers receivers_;
  std::array<std::byte, kFrameHeaderBytes> header_;
  PublishTemplate layout_;
};

class ClientApplication {
 public:
  struct Handlers {
    std::function<void(const ClientMessage&)> on_message;
    std::function<void(const NoRouteNotice&)> on_no_route;  // for publishes whose source is this application
    std::function<void()> on_writable;                      // after kQueueFull: there is room again
    // After a reconnect the node refused what it had accepted before.
    std::function<void(const TextName& name, const std::string& why)> on_subscription_lost;
    // After ClientLink::hold: copy now what is still needed. It must do nothing else with link or application.
    std::function<void()> on_reuse;
  };

  // `name`: with a null id it gets one of its own (random, as upstream's identities make them).
  // The link must outlive the application.
  ClientApplication(ClientLink& link, TextName name, Handlers handlers);
  ~ClientApplication();  // unsubscribes everything
  ClientApplication(const ClientApplication&) = delete;
  ClientApplication& operator=(const ClientApplication&) = delete;

  [[nodiscard]] const TextName& name() const { return name_; }
  [[nodiscard]] const Name& hashed_name() const { return hashed_; }
  [[nodiscard]] ClientLink& link() { return link_; }

  // `done` runs when the node has answered: from then on every worker of it knows. Other applications of this link
  // reach us at once. Returns a number for unsubscribe(). While the link is down the answer waits for it.
  std::uint64_t subscribe(const TextName& name, std::function<void(ClientResult)> done = {});
  std::uint64_t subscribe_self(std::function<void(ClientResult)> done = {}) { return subscribe(name_, std::move(done)); }
  void unsubscribe(std::uint64_t subscription, std::function<void(ClientResult)> done = {});

  PublishStatus publish(const Destination& to, std::span<const std::byte> payload, std::uint32_t session_id = 0, std::uint32_t message_id = 0);
  PublishStatus publish(const Destination& to, std::string_view payload, std::uint32_t session_id = 0, std::uint32_t message_id = 0);
  // A frame whose body the caller made (other content than an application's bytes). The header's source is set to
  // our name, unless it is that of another service with our id; fanout 1 means one receiver, anything else all.
  // The body may come in two parts.
  PublishStatus publish_frame(FrameHeader header, std::span<const std::byte> body, std::span<const std::byte> rest = {});

 private:
  friend class ClientLink;
  // Gives the frame's bytes to fill(at), wherever it goes.
  template <class Fill>
  PublishStatus send(const Name& to, bool to_all, std::size_t frame_bytes, Fill fill);

  ClientLink& link_;
  TextName name_;
  Name hashed_;
  Handlers handlers_;
};

}  // namespace slipway
