// What data costs an application a message: no parsing of what is known, no string that is built again, and no copy but that which the
// application keeps, which is made when it is told.
//
// In: what came before from the same source, in the same session, with the same headers byte for byte was decoded, and its session had
// nothing to do but hand it on (SessionLayer::data_way). So has the next. A message as long as the one before differs from it in its
// id and its payload only, so that one comparison says all; others are taken apart as far as their payload. Everything else goes the
// long way: sessions with MLS or acknowledgements, metadata, a new token, whoever is offline.
//
// Until the end of the turn data lies where it was received, if the connection can leave it there: thirty messages at once would
// otherwise be thirty buffers, and none of them in the nearest cache.

#include <cstring>
#include <utility>

#include "app/app.h"
#include "app/payload_buffers.h"

namespace slipway {
namespace {

std::size_t lane_of(const std::byte* frame) {
  const auto id = load_le<std::uint64_t>(frame + frame_offset::kSource + 24);
  const auto service = load_le<std::uint64_t>(frame + frame_offset::kSource + 16);
  return static_cast<std::size_t>(((id ^ service ^ frame_session_id(frame)) * 0x9E3779B97F4A7C15u) >> 32) % kDataLanes;
}

// Long enough for a header, equal in length and in all that stands before the payload but for the message's id.
bool is_like(std::span<const std::byte> frame, std::string_view known, std::size_t known_bytes) {
  constexpr std::size_t kBehindId = frame_offset::kMessageId + sizeof(std::uint32_t);
  return frame.size() == known_bytes && std::memcmp(frame.data() + kBehindId, known.data() + kBehindId, known.size() - kBehindId) == 0 &&
         std::memcmp(frame.data(), known.data(), frame_offset::kMessageId) == 0;
}

std::string_view type_of(const DataView& view) { return view.payload_type.empty() ? std::string_view("msg") : view.payload_type; }

}  // namespace

bool App::take_data(Attached& from, std::span<const std::byte> frame) {
  const std::byte* const f = frame.data();
  if (lanes_.empty()) {
    return false;
  }
  DataLane* const lane = lanes_[lane_of(f)].get();
  if (lane == nullptr) {
    return false;
  }
  std::size_t payload_at = lane->known.size();
  std::string_view payload_type = lane->payload_type;
  if (!is_like(frame, lane->known, lane->known_bytes)) {
    if (load_le<std::uint8_t>(f + frame_offset::kSessionMessageType) != static_cast<std::uint8_t>(MessageType::kMsg) || frame_flags(f) != 0 ||
        lane->session_id != frame_session_id(f) || lane->session_type != load_le<std::uint8_t>(f + frame_offset::kSessionType) ||
        std::memcmp(f + frame_offset::kDestination, lane->names.data(), lane->names.size()) != 0) {
      return false;
    }
    const auto view = view_data(frame.subspan(kFrameHeaderBytes));
    if (!view || view->header != lane->header || view->blob.size() > kMaxSessionPayloadBytes) {
      return false;
    }
    payload_at = frame.size() - view->blob.size();
    payload_type = type_of(*view);
    if (std::exchange(lane->other_bytes, frame.size()) == frame.size()) {
      know(*lane, frame, payload_at, payload_type);
    }
  }
  if (!layer_.passes(lane->way, lane->source.hashed())) {
    return false;
  }
  ++counters_.received;
  counters_.received_bytes += frame.size();
  remember_way(lane->source.hashed(), from.id);
  const LentData lent{lane, f, static_cast<std::uint32_t>(frame.size()), static_cast<std::uint32_t>(payload_at)};
  if (payload_type == lane->payload_type && from.port->hold()) {
    notices_.emplace_back(lent);
  } else {
    auto delivery = std::make_unique<DeliverMessage>(lane->way.handle, lent_message(lent));
    delivery->message.payload_type = payload_type;
    notices_.emplace_back(std::move(delivery));
  }
  schedule_notices();
  return true;
}

AppMessage App::lent_message(const LentData& lent) {
  const DataLane& lane = *lent.lane;
  const auto id = load_le<std::uint32_t>(lent.frame + frame_offset::kMessageId);
  return {.source = lane.source,
          .destination = lane.destination,
          .message_id = id,
          .session_id = lane.session_id,
          .directed = id > kMaxDataId,
          .payload_type = lane.payload_type,
          .payload = copy_payload({lent.frame + lent.payload_at, lent.frame_bytes - lent.payload_at})};
}

void App::keep_lent_of(std::span<AnyNotice> notices) {
  for (AnyNotice& notice : notices) {
    if (const auto* lent = std::get_if<LentData>(&notice)) {
      notice = std::make_unique<DeliverMessage>(lent->lane->way.handle, lent_message(*lent));
    }
  }
}

void App::keep_lent() {
  keep_lent_of(std::span(notices_).subspan(kept_notices_));
  kept_notices_ = notices_.size();
  if (telling_ != nullptr) {
    keep_lent_of(*telling_);
  }
}

// What comes next may be like this frame.
void App::know(DataLane& lane, std::span<const std::byte> frame, std::size_t payload_at, std::string_view payload_type) {
  if (payload_type != lane.payload_type) {
    keep_lent();  // of the type that it was
    lane.payload_type = payload_type;
  }
  lane.known.assign(reinterpret_cast<const char*>(frame.data()), payload_at);
  lane.known_bytes = frame.size();
}

// A message that goes the long way now.
void App::remember_data(const SessionMessage& message, std::span<const std::byte> frame) {
  if (!message.metadata.empty() || message.error) {
    return;
  }
  const auto way = layer_.data_way(message);
  const auto view = way ? view_data(frame.subspan(kFrameHeaderBytes)) : std::nullopt;
  if (!view || frame_flags(frame.data()) != 0 || view->blob.size() > kMaxSessionPayloadBytes) {
    return;
  }
  if (lanes_.empty()) {
    lanes_.resize(kDataLanes);
  }
  auto& place = lanes_[lane_of(frame.data())];
  if (place) {
    keep_lent();  // which may be of this one
  } else {
    place = std::make_unique<DataLane>();
  }
  std::memcpy(place->names.data(), frame.data() + frame_offset::kDestination, place->names.size());
  place->session_id = message.session_id;
  place->session_type = static_cast<std::uint8_t>(message.session_type);
  place->header = view->header;
  place->source = message.source;
  place->destination = message.destination;
  place->way = *way;
  know(*place, frame, frame.size() - view->blob.size(), type_of(*view));
}

std::optional<std::uint32_t> App::send_plain(AppSession& session, std::string_view payload_type, const SharedBytes& payload) {
  if (!layer_.actions().empty() || !postponed_.empty()) {
    return std::nullopt;  // behind these
  }
  const auto out = layer_.number_data(now_ms(), session.handle_, size_of(payload), payload_type.size());
  if (!out) {
    return std::nullopt;
  }
  Attached* const attached = way_to(out->destination->hashed());
  if (attached == nullptr) {
    ++counters_.not_connected;
    return out->message_id;
  }
  if (!session.plain_way_) {
    session.plain_way_ = std::make_unique<AppSession::PlainWay>();
  }
  AppSession::PlainWay& way = *session.plain_way_;
  if (way.identity.empty() || way.identity_ns != loop_.now_ns()) {
    way.identity_ns = loop_.now_ns();
    const auto identity = identity_.provider().token(unix_now_s()).value_or(std::string_view());
    if (identity != way.identity) {
      way.identity = identity;
      way.lead.clear();
    }
  }
  // Text by its place: it is shared and never changes.
  const auto same = [](const FullName& a, const FullName& b) { return a.text_components() == b.text_components() && a == b; };
  if (way.lead.empty() || way.payload_bytes != size_of(payload) || way.payload_type != payload_type || !same(way.destination, *out->destination)) {
    way.destination = *out->destination;
    way.payload_type = payload_type;
    way.payload_bytes = size_of(payload);
    way.lead.clear();
    encode_data_lead(way.lead, way.header.of(out->facts->local, way.destination, way.identity), payload_type, way.payload_bytes);
  }
  const FrameHeader header{.session_type = static_cast<std::uint8_t>(out->facts->type),
                           .fanout = out->fanout,
                           .session_id = out->facts->id,
                           .message_id = out->message_id,
                           .destination = way.destination.hashed(),
                           .source = out->facts->local.hashed(),
                           .session_message_type = static_cast<std::uint8_t>(MessageType::kMsg)};
  transmit(*attached, header, std::as_bytes(std::span(way.lead)), payload ? std::span<const std::byte>(*payload) : std::span<const std::byte>());
  return out->message_id;
}

void App::send_data(Attached& attached, const SessionMessage& message) {
  std::string_view identity = message.identity;
  if (identity.empty()) {
    identity = identity_.provider().token(unix_now_s()).value_or(std::string_view());
  }
  const auto& content = std::get<AppPayload>(message.payload);
  DataHeader& header = data_headers_[NameHash{}(message.destination.hashed()) % kDataHeaders];
  lead_.clear();
  encode_data_lead(lead_, header.of(message.source, message.destination, identity), content.payload_type, size_of(content.blob));
  transmit(attached, frame_header_of(message), std::as_bytes(std::span(lead_)),
           content.blob ? std::span<const std::byte>(*content.blob) : std::span<const std::byte>());
}

}  // namespace slipway
