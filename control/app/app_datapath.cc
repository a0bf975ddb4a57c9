// What data costs an application a message: no parsing of what is known, no string that is built again, one allocation for the payload.
//
// In: what came before from the same source, in the same session, with the same headers byte for byte was decoded, and its session had
// nothing to do but hand it on (SessionLayer::data_way). So has the next. Everything else goes the long way: sessions with MLS or
// acknowledgements, metadata, a new token, whoever is offline.

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

}  // namespace

bool App::take_data(ConnectionId id, std::span<const std::byte> frame) {
  const std::byte* const f = frame.data();
  if (lanes_.empty() || load_le<std::uint8_t>(f + frame_offset::kSessionMessageType) != static_cast<std::uint8_t>(MessageType::kMsg) ||
      frame_flags(f) != 0) {
    return false;
  }
  const DataLane* const lane = lanes_[lane_of(f)].get();
  if (lane == nullptr || lane->session_id != frame_session_id(f) ||
      lane->session_type != load_le<std::uint8_t>(f + frame_offset::kSessionType) ||
      std::memcmp(f + frame_offset::kDestination, lane->names.data(), lane->names.size()) != 0) {
    return false;
  }
  const auto view = view_data(frame.subspan(kFrameHeaderBytes));
  if (!view || view->header != lane->header || view->blob.size() > kMaxSessionPayloadBytes || !layer_.passes(lane->way, lane->source.hashed())) {
    return false;
  }
  ++counters_.received;
  counters_.received_bytes += frame.size();
  remember_way(lane->source.hashed(), id);
  auto& [session, message] = std::get<DeliverMessage>(notices_.emplace_back(std::in_place_type<DeliverMessage>));
  session = lane->way.handle;
  message.source = lane->source;
  message.destination = lane->destination;
  message.message_id = load_le<std::uint32_t>(f + frame_offset::kMessageId);
  message.session_id = lane->session_id;
  message.directed = message.message_id > kMaxDataId;
  message.payload_type = view->payload_type.empty() ? std::string_view("msg") : view->payload_type;
  message.payload = copy_payload(std::as_bytes(std::span(view->blob)));
  schedule_notices();
  return true;
}

// A message that goes the long way now.
void App::remember_data(const SessionMessage& message, std::span<const std::byte> frame) {
  if (!message.metadata.empty() || message.error) {
    return;
  }
  const auto way = layer_.data_way(message);
  const auto view = way ? view_data(frame.subspan(kFrameHeaderBytes)) : std::nullopt;
  if (!view || frame_flags(frame.data()) != 0) {
    return;
  }
  if (lanes_.empty()) {
    lanes_.resize(kDataLanes);
  }
  auto& place = lanes_[lane_of(frame.data())];
  if (!place) {
    place = std::make_unique<DataLane>();
  }
  std::memcpy(place->names.data(), frame.data() + frame_offset::kDestination, place->names.size());
  place->session_id = message.session_id;
  place->session_type = static_cast<std::uint8_t>(message.session_type);
  place->header = view->header;
  place->source = message.source;
  place->destination = message.destination;
  place->way = *way;
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
