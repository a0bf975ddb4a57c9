#include "client/application.h"

#include <random>

namespace slipway {
namespace {

std::uint64_t random_u64() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

}  // namespace

std::string_view publish_status_text(PublishStatus status) {
  switch (status) {
    case PublishStatus::kQueued:
      return "sent";
    case PublishStatus::kQueueFull:
      return "the queue towards the node is full";
    case PublishStatus::kNotConnected:
      return "the link to the node is not up";
    case PublishStatus::kTooBig:
      return "larger than the node takes on this link";
  }
  return "unknown";
}

std::string ClientMessage::name_text(const std::array<std::string_view, 3>& text, const Name& name) {
  if (text[0].empty() || text[1].empty() || text[2].empty()) {
    return hashed_text(name);
  }
  std::string shown;
  for (const auto part : text) {
    shown += shown.empty() ? "" : "/";
    shown += part;
  }
  return name.id.is_null() ? shown : shown + "/" + id_text(name.id);
}

Destination::Destination(const ClientApplication& from, const TextName& to, Receivers receivers, std::string_view payload_type, bool text)
    : name_(to.hashed()),
      receivers_(receivers),
      layout_({.destination_text = text ? to.component : std::array<std::string, 3>{},
               .source_text = text ? from.name().component : std::array<std::string, 3>{},
               .payload_type = std::string(payload_type)}) {
  // 256 is what upstream's channel messages carry; any number but 1 means all.
  constexpr std::uint32_t kAllFanout = 256;
  store_header(header_.data(), {.fanout = receivers == Receivers::kOne ? 1 : kAllFanout, .destination = name_, .source = from.hashed_name()});
}

ClientApplication::ClientApplication(ClientLink& link, TextName name, Handlers handlers)
    : link_(link), name_(std::move(name)), handlers_(std::move(handlers)) {
  if (name_.id.is_null()) {
    name_.id = id_of_identity(name_.component[2] + "_" + std::to_string(random_u64()) + std::to_string(random_u64()));
  }
  hashed_ = name_.hashed();
  link_.applications_.push_back(this);
}

ClientApplication::~ClientApplication() { link_.forget_application(this); }

std::uint64_t ClientApplication::subscribe(const TextName& name, std::function<void(ClientResult)> done) {
  return link_.subscribe(this, name, std::move(done));
}

void ClientApplication::unsubscribe(std::uint64_t subscription, std::function<void(ClientResult)> done) {
  link_.unsubscribe(subscription, std::move(done));
}

template <class Fill>
PublishStatus ClientApplication::send(const Name& to, bool to_all, std::size_t frame_bytes, Fill fill) {
  link_.receivers_.clear();
  bool local = false;
  if (to_all) {
    link_.routes_.all(to, this, &link_.receivers_);
    local = !link_.receivers_.empty();
  } else {
    local = link_.routes_.has_other(to, this);
  }
  const bool node = to_all || !local;
  const auto refuse = [this](PublishStatus status) {
    ++link_.counters_.refused;
    link_.someone_waits_ |= status == PublishStatus::kQueueFull;
    return status;
  };
  if (node && !link_.up()) {
    return refuse(PublishStatus::kNotConnected);
  }
  if (frame_bytes > (node ? link_.max_out_bytes_ : kMaxFrameBytes)) {
    return refuse(PublishStatus::kTooBig);
  }
  // A frame larger than the bound may go alone.
  if ((node && link_.queued_bytes() > 0 && link_.queued_bytes() + frame_bytes > link_.options_.queue_bytes) ||
      (local && !link_.local_bytes_.empty() && link_.local_bytes_.size() + frame_bytes > kClientLocalBytes)) {
    link_.schedule_flush();
    return refuse(PublishStatus::kQueueFull);
  }
  const auto bytes = static_cast<std::uint32_t>(frame_bytes);
  if (local) {
    fill(link_.begin_local(this, bytes));
  }
  if (node) {
    fill(link_.wire_->begin_frame(bytes));
    link_.wire_->end_frame();
    ++link_.counters_.frames_sent;
    if (link_.queued_bytes() >= kClientFlushBytes && !link_.blocked_) {
      link_.flush();
    }
  }
  link_.schedule_flush();
  return PublishStatus::kQueued;
}

PublishStatus ClientApplication::publish(const Destination& to, std::span<const std::byte> payload, std::uint32_t session_id, std::uint32_t message_id) {
  const std::size_t bytes = kFrameHeaderBytes + to.layout_.body_bytes(payload.size());
  return send(to.name_, to.receivers_ == Receivers::kAll, bytes, [&](std::byte* at) {
    std::memcpy(at, to.header_.data(), kFrameHeaderBytes);
    store_le(at + frame_offset::kSessionId, session_id);
    store_le(at + frame_offset::kMessageId, message_id);
    at = to.layout_.write_before_payload(at + kFrameHeaderBytes, payload.size());
    if (!payload.empty()) {
      std::memcpy(at, payload.data(), payload.size());
    }
  });
}

PublishStatus ClientApplication::publish(const Destination& to, std::string_view payload, std::uint32_t session_id, std::uint32_t message_id) {
  return publish(to, std::span(reinterpret_cast<const std::byte*>(payload.data()), payload.size()), session_id, message_id);
}

PublishStatus ClientApplication::publish_frame(FrameHeader header, std::span<const std::byte> body, std::span<const std::byte> rest) {
  header.kind = FrameKind::kPublish;
  if (header.source.id != hashed_.id) {
    header.source = hashed_;
  }
  return send(header.destination, header.fanout != 1, kFrameHeaderBytes + body.size() + rest.size(), [&](std::byte* at) {
    store_header(at, header);
    if (!body.empty()) {
      std::memcpy(at + kFrameHeaderBytes, body.data(), body.size());
    }
    if (!rest.empty()) {
      std::memcpy(at + kFrameHeaderBytes + body.size(), rest.data(), rest.size());
    }
  });
}

}  // namespace slipway
