#pragma once
// One gRPC stream of an H2Session, and its callbacks. Inner header of h2_*.cc.

#include "edge/h2_session.h"

namespace slipway {

struct H2Session::Stream {
  Stream(H2Session& owner, std::int32_t stream_id) : session(owner), id(stream_id), queue(owner.store_) {}

  H2Session& session;
  std::int32_t id;
  bool open = false;         // told kStreamOpen, and not yet kStreamClosed
  bool answered = false;     // server: response headers were given to nghttp2
  bool ended = false;        // received bytes are thrown away, nothing more is taken for sending
  bool peer_ended = false;   // END_STREAM came
  bool finish = false;       // when the queue is empty: trailers (server) or END_STREAM (client)
  bool trailers_given = false;
  bool deferred = false;     // nghttp2 waits for resume
  bool reset_after = false;  // RST_STREAM(NO_ERROR) once the trailers are out
  bool counted = false;      // in open_streams_
  int finish_status = 0;
  std::string finish_message;  // percent-encoded
  GrpcDeframer deframer;
  OutputQueue queue;
  std::unique_ptr<StreamHead> head;
  Stream* next = nullptr;
  Stream* before = nullptr;
};

struct H2Session::Callbacks {
  static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* hd, void* self);
  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_bytes,
                       const std::uint8_t* value, std::size_t value_bytes, std::uint8_t flags, void* self);
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int on_data(nghttp2_session*, std::uint8_t flags, std::int32_t id, const std::uint8_t* data, std::size_t bytes, void* self);
  static int on_stream_close(nghttp2_session*, std::int32_t id, std::uint32_t error, void* self);
  static int on_frame_send(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int send_data(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* header, std::size_t bytes,
                       nghttp2_data_source* source, void* self);
  static ssize_t read(nghttp2_session*, std::int32_t id, std::uint8_t* buffer, std::size_t room, std::uint32_t* flags,
                      nghttp2_data_source* source, void* self);
  static int on_error(nghttp2_session*, int code, const char* text, std::size_t bytes, void* self);
  static const nghttp2_session_callbacks* all();
};

[[nodiscard]] inline nghttp2_nv h2_header(std::string_view name, std::string_view value) {
  return {.name = reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          .value = reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())),
          .namelen = name.size(),
          .valuelen = value.size(),
          .flags = NGHTTP2_NV_FLAG_NONE};
}

}  // namespace slipway
