#pragma once
// One session, as its application holds it. Made by App::create_session, or by a peer's invitation (App::Handlers::on_session).
//
// A call that cannot be done returns an error, sends nothing and never calls `done`. A call that is taken calls `done` once, in a
// later turn of the loop. Calls that do not fit the session's kind are kWrongKind:
//
//                              anycast   unicast   multicast
//   publish                       -         x          x
//   publish_with_destination      x         -          -
//   publish_to                    x         x          x
//   invite, remove                -         -          x       its creator only
//   go_offline, come_back         -         -          x
//   refresh_keys                  -         x          x       with MLS
//
// Threads: the loop's. Callbacks must not throw and must not destroy the App (Loop::defer).

#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "app/app_error.h"
#include "app/session_options.h"
#include "session/session_actions.h"
#include "wire/data_frames.h"

namespace slipway {

class App;

// How an operation ended well. Of a publish: its id, and the members that it did not reach, with the reason; empty: all got it.
struct Outcome {
  std::uint32_t message_id = 0;
  std::vector<Undelivered> undelivered;
};
using Done = std::move_only_function<void(std::expected<Outcome, AppError>)>;

// Nobody read the session's messages and there was no more room for these.
struct MessagesUnread {
  std::uint64_t count = 0;
};
using SessionEvent = std::variant<Presence, MessagesLost, MessagesUnread, SessionClosed>;

struct PublishOptions {
  std::string payload_type = "msg";
  Metadata metadata;  // not encrypted
};

class AppSession : public std::enable_shared_from_this<AppSession> {
 public:
  using Call = std::expected<void, AppError>;
  using Published = std::expected<std::uint32_t, AppError>;  // the message's id

  // --- messages out --------------------------------------------------------------------------------------------------
  Published publish(SharedBytes payload, PublishOptions options = {}, Done done = {});
  Published publish_with_destination(const TextName& service, SharedBytes payload, PublishOptions options = {}, Done done = {});
  // To the one who sent `received`.
  Published publish_to(const AppMessage& received, SharedBytes payload, PublishOptions options = {}, Done done = {});

  // --- messages in ---------------------------------------------------------------------------------------------------
  // What came before is given to the handler at once, in order. Without one messages wait, up to kMaxUnreadMessages.
  void on_message(std::function<void(AppMessage)> handler);
  [[nodiscard]] std::optional<AppMessage> take_message();  // the oldest that waits
  void on_event(std::function<void(const SessionEvent&)> handler);

  // --- members -------------------------------------------------------------------------------------------------------
  Call invite(const TextName& name, Done done = {});
  Call remove(const TextName& name, Done done = {});
  [[nodiscard]] std::vector<ParticipantInfo> participants() const;  // this member included; anycast: none
  Call refresh_keys(Done done = {});
  Call go_offline(Done done = {});
  Call come_back(Done done = {});
  // Waits for what is unacknowledged, says good-bye, ends. `delete_session` of the guide.
  Call close(Done done = {});

  // --- what it is ----------------------------------------------------------------------------------------------------
  [[nodiscard]] SessionKind kind() const { return kind_; }
  [[nodiscard]] std::uint32_t id() const { return id_; }
  [[nodiscard]] SessionHandle handle() const { return handle_; }  // as SessionKeeper has it
  // The channel, or the other side; anycast that came in: its sender.
  [[nodiscard]] FullName destination() const;
  [[nodiscard]] const FullName& source() const { return source_; }  // this application
  [[nodiscard]] const Metadata& metadata() const { return metadata_; }
  [[nodiscard]] bool reliable() const { return reliable_; }
  [[nodiscard]] bool encrypted() const { return encrypted_; }
  [[nodiscard]] bool is_creator() const { return creator_; }
  // Of its group; it grows with each change of keys or members. kNoEpoch: no MLS.
  [[nodiscard]] std::uint64_t epoch() const;
  [[nodiscard]] bool open() const { return app_ != nullptr && !closed_; }
  [[nodiscard]] std::optional<CloseReason> closed() const { return closed_; }

 private:
  friend class App;
  // Of messages that go the short way out (app_datapath.cc): all that stands before the payload of the one before.
  struct PlainWay {
    FullName destination;
    std::string identity;
    std::uint64_t identity_ns = 0;  // the loop's time when it was asked for
    std::string payload_type;
    std::size_t payload_bytes = 0;
    DataHeader header;
    std::string lead;               // empty: none yet
  };

  AppSession() = default;
  std::unexpected<AppError> wrong_kind(const char* doing) const;
  std::unexpected<AppError> gone(const char* doing) const;
  template <class Make>
  void deliver(Make&& make);       // make() is the message
  void keep_unread(AppMessage message);
  void tell(const SessionEvent& event);

  App* app_ = nullptr;  // null when the session has ended or the application is gone
  SessionHandle handle_{};
  SessionKind kind_ = SessionKind::kUnicast;
  std::uint32_t id_ = 0;
  FullName source_;
  FullName destination_;
  Metadata metadata_;
  bool reliable_ = false;
  bool encrypted_ = false;
  bool creator_ = false;
  bool answers_only_ = false;  // anycast of a peer
  std::optional<CloseReason> closed_;
  std::shared_ptr<const std::function<void(AppMessage)>> message_handler_;  // shared: held while it runs, as it may set another
  std::function<void(const SessionEvent&)> event_handler_;
  std::unique_ptr<PlainWay> plain_way_;  // null until the first such message
  std::deque<AppMessage> unread_;
  std::size_t unread_bytes_ = 0;
  std::uint64_t dropped_ = 0;  // since the last event
};

// The message is made where the handler takes it.
template <class Make>
void AppSession::deliver(Make&& make) {
  if (const auto call = message_handler_) {
    (*call)(make());
  } else {
    keep_unread(make());
  }
}

// Bytes that messages share.
[[nodiscard]] SharedBytes shared_bytes(std::string_view text);
[[nodiscard]] std::string_view text_of(const SharedBytes& bytes);

}  // namespace slipway
