#include "session/session_output.h"

namespace slipway {

SessionMessage SessionOutput::compose(MessageType type, std::uint32_t message_id, const FullName& destination) const {
  SessionMessage message;
  message.session_type = facts_.type;
  message.type = type;
  message.session_id = facts_.id;
  message.message_id = message_id;
  message.source = facts_.local;
  message.destination = destination;
  return message;
}

bool SessionOutput::send_data(SessionMessage message, bool to_all) {
  if (group_ != nullptr && !group_->protect(message)) {
    return false;
  }
  data_to_all_ = data_to_all_ || to_all;
  send(std::move(message), false);
  return true;
}

void SessionOutput::send(SessionMessage message, bool to_all) {
  reached_all_ = reached_all_ || to_all;
  actions_.push_back(SendMessage{std::move(message)});
}

void SessionOutput::resolve(OperationId operation, std::optional<SessionError> error, std::uint32_t message_id,
                            std::vector<Undelivered> undelivered) {
  if (operation != kNoOperation) {
    actions_.push_back(Resolve{facts_.handle, operation, std::move(error), message_id, std::move(undelivered)});
  }
}

void SessionOutput::deliver(AppMessage message) { actions_.push_back(DeliverMessage{facts_.handle, std::move(message)}); }

void SessionOutput::lost(const FullName& source, std::uint32_t first_id, std::uint32_t count) {
  actions_.push_back(MessagesLost{facts_.handle, source, first_id, count});
}

void SessionOutput::presence(const FullName& member, PresenceChange change) {
  actions_.push_back(Presence{facts_.handle, member, change});
}

}  // namespace slipway
