#include "apps/report/serve.h"

#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <mutex>
#include <thread>

namespace nas::report {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;
constexpr std::size_t kConnections = 256;
constexpr std::size_t kMostBody = 1024;     // bytes; no request needs any
constexpr std::size_t kMostHeader = 65536;  // of one request, all lines
constexpr auto kFreshFor = std::chrono::milliseconds(300);
constexpr const char* kCookie = "hwnas_token";

// A connection with a deadline for everything together: a client that sends a byte now and then ends too.
class DeadlineStream : public httplib::Stream {
 public:
  DeadlineStream(int socket, Clock::time_point deadline) : socket_(socket), deadline_(deadline) {}
  bool is_readable() const override { return at_ < have_ || ready(POLLIN); }
  bool is_writable() const override { return ready(POLLOUT); }
  ssize_t read(char* to, std::size_t size) override {
    if (at_ == have_) {
      if (received_ > kMostHeader || !ready(POLLIN)) return -1;
      const ssize_t n = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
      if (n <= 0) return n;
      at_ = 0;
      have_ = static_cast<std::size_t>(n);
      received_ += have_;
    }
    const std::size_t n = std::min(size, have_ - at_);
    std::copy_n(buffer_.data() + at_, n, to);
    at_ += n;
    return static_cast<ssize_t>(n);
  }
  ssize_t write(const char* from, std::size_t size) override {
    if (!ready(POLLOUT)) return -1;
    return ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override { ip.clear(), port = 0; }
  void get_local_ip_and_port(std::string& ip, int& port) const override { ip.clear(), port = 0; }
  socket_t socket() const override { return socket_; }

 private:
  bool ready(short events) const {
    pollfd wanted{socket_, events, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    return left > 0 && ::poll(&wanted, 1, static_cast<int>(left)) == 1 && (wanted.revents & events) != 0;
  }
  int socket_;
  Clock::time_point deadline_;
  std::array<char, 4096> buffer_{};
  std::size_t at_ = 0, have_ = 0, received_ = 0;
};

class OneRequestServer : public httplib::Server {
 public:
  explicit OneRequestServer(double deadline_s) : deadline_s_(deadline_s) {}
  // The library lets 5 connections wait to be accepted; beyond that clients hang for seconds.
  void let_many_wait() { ::listen(svr_sock_, static_cast<int>(kConnections)); }

 private:
  bool process_and_close_socket(socket_t socket) override {
    const auto time = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(deadline_s_));
    DeadlineStream stream(socket, Clock::now() + time);
    bool closed = false;
    const bool done = process_request(stream, true, closed, nullptr);
    ::shutdown(socket, SHUT_RDWR);
    ::close(socket);
    return done;
  }
  double deadline_s_;
};

// Takes the same time wherever the texts differ.
bool same_secret(const std::string& a, const std::string& b) {
  unsigned different = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i)
    different |=
        static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[b.empty() ? 0 : i % b.size()]);
  return different == 0 && !b.empty();
}

std::string cookie_of(const httplib::Request& request) {
  const std::string all = "; " + request.get_header_value("Cookie");
  const std::string mark = std::string("; ") + kCookie + "=";
  const std::size_t at = all.find(mark);
  if (at == std::string::npos) return {};
  return all.substr(at + mark.size(), all.find(';', at + mark.size()) - at - mark.size());
}

// "name:80" and "[::1]:80" without the port.
std::string host_name(const std::string& header) {
  if (header.starts_with('[')) return header.substr(0, header.find(']') + 1);
  return header.substr(0, header.find(':'));
}

void set_headers(httplib::Response& response) {
  response.set_header("Content-Security-Policy", content_policy(true));
  response.set_header("X-Content-Type-Options", "nosniff");
  response.set_header("X-Frame-Options", "DENY");
  response.set_header("Referrer-Policy", "no-referrer");
  response.set_header("Cross-Origin-Resource-Policy", "same-origin");
  response.set_header("Cache-Control", "no-store");
}

void refuse(httplib::Response& response, int status, const std::string& why) {
  response.status = status;
  response.set_content(why + "\n", "text/plain; charset=utf-8");
}

}  // namespace

struct LiveServer::Impl {
  ServeOptions options;
  Reporter reporter;
  OneRequestServer server;
  int port = 0;
  std::mutex mutex;  // of reporter, fresh and the page
  Clock::time_point fresh;
  std::string page_text, page_cursor;
  std::thread thread;

  Impl(ServeOptions o, Reporter r)
      : options(std::move(o)), reporter(std::move(r)), server(options.deadline_s) {}
  void set_up();
  bool host_is_ours(const std::string& header) const;
  bool admitted(const httplib::Request& request, httplib::Response& response) const;
  bool refresh(httplib::Response& response);
  void send_page(httplib::Response& response);
  void send_report(const httplib::Request& request, httplib::Response& response);
};

bool LiveServer::Impl::host_is_ours(const std::string& header) const {
  const std::string name = host_name(header);
  for (const char* own : {"localhost", "127.0.0.1", "[::1]"})
    if (name == own) return true;
  return name == options.host || name == "[" + options.host + "]" ||
         std::find(options.names.begin(), options.names.end(), name) != options.names.end();
}

bool LiveServer::Impl::admitted(const httplib::Request& request, httplib::Response& response) const {
  if (request.get_header_value_count("Host") != 1 || !host_is_ours(request.get_header_value("Host"))) {
    refuse(response, 421, "this server does not answer to that Host; `--name` allows one");
    return false;
  }
  if (request.method != "GET" && request.method != "HEAD") {
    refuse(response, 405, "read only");
    return false;
  }
  if (options.token.empty()) return true;
  const std::string bearer = request.get_header_value("Authorization");
  if (same_secret(bearer, "Bearer " + options.token) || same_secret(cookie_of(request), options.token))
    return true;
  if (request.path == "/" && same_secret(request.get_param_value("token"), options.token)) {
    // From now on by cookie, so that the token leaves the address line.
    response.set_header("Set-Cookie",
                        std::string(kCookie) + "=" + options.token + "; HttpOnly; SameSite=Strict; Path=/");
    response.set_redirect("/");
    return false;
  }
  refuse(response, 401, "needs the token: open /?token=… once, or send Authorization: Bearer …");
  return false;
}

bool LiveServer::Impl::refresh(httplib::Response& response) {
  if (Clock::now() - fresh < kFreshFor) return true;
  if (const auto done = reporter.refresh(); !done) {
    refuse(response, 503, to_string(done.error()));
    return false;
  }
  fresh = Clock::now();
  return true;
}

void LiveServer::Impl::send_page(httplib::Response& response) {
  const std::lock_guard lock(mutex);
  if (!refresh(response)) return;
  if (page_text.empty() || page_cursor != reporter.cursor()) {
    page_text = page(reporter.document(), true);
    page_cursor = reporter.cursor();
  }
  response.set_content(page_text, "text/html; charset=utf-8");
}

void LiveServer::Impl::send_report(const httplib::Request& request, httplib::Response& response) {
  const std::lock_guard lock(mutex);
  if (!refresh(response)) return;
  const Json answer =
      request.has_param("since") ? reporter.since(request.get_param_value("since")) : reporter.document();
  response.set_content(answer.dump(-1, ' ', false, Json::error_handler_t::replace), "application/json");
}

void LiveServer::Impl::set_up() {
  server.new_task_queue = [] { return new httplib::ThreadPool(kConnections); };
  server.set_payload_max_length(kMostBody);
  // Not SO_REUSEPORT, the library's default: two servers must not share a port unnoticed.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  server.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    set_headers(response);
    return admitted(request, response) ? httplib::Server::HandlerResponse::Unhandled
                                       : httplib::Server::HandlerResponse::Handled;
  });
  server.Get("/", [this](const httplib::Request&, httplib::Response& response) { send_page(response); });
  server.Get("/api/v1/report", [this](const httplib::Request& request, httplib::Response& response) {
    send_report(request, response);
  });
  server.Get("/favicon.ico",
             [](const httplib::Request&, httplib::Response& response) { response.status = 204; });
}

Result<void> parse_bind(const std::string& text, ServeOptions& options) {
  const std::size_t colon = text.rfind(':');
  const std::string port = colon == std::string::npos ? text : text.substr(colon + 1);
  std::string host = colon == std::string::npos ? "" : text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  int number = -1;
  const auto [end, failed] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (failed != std::errc() || end != port.data() + port.size() || number < 0 || number > 65535)
    return usage_error("--bind " + text + ": required like 127.0.0.1:8080 with a port from 0 to 65535");
  if (!host.empty()) options.host = host;
  options.port = number;
  return {};
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

LiveServer::LiveServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LiveServer::LiveServer(LiveServer&&) noexcept = default;
LiveServer::~LiveServer() {
  if (impl_) stop();
}

Result<LiveServer> LiveServer::start(ServeOptions options) {
  if (!is_loopback(options.host) && options.token.empty())
    return usage_error("serving beyond this machine (" + options.host +
                       ") needs --token-file FILE with a secret");
  NAS_TRY(reporter, Reporter::open(options.report));
  auto impl = std::make_unique<Impl>(std::move(options), std::move(reporter));
  impl->set_up();
  const std::string& host = impl->options.host;
  impl->port = impl->options.port;
  const bool bound = impl->port == 0 ? (impl->port = impl->server.bind_to_any_port(host)) > 0
                                     : impl->server.bind_to_port(host, impl->port);
  if (!bound)
    return Error{"cannot listen on " + host + ":" + std::to_string(impl->options.port) + "; is it taken?"};
  impl->server.let_many_wait();
  impl->thread = std::thread([&server = impl->server] { server.listen_after_bind(); });
  while (!impl->server.is_running()) std::this_thread::yield();
  return LiveServer(std::move(impl));
}

int LiveServer::port() const { return impl_->port; }
void LiveServer::wait() {
  if (impl_->thread.joinable()) impl_->thread.join();
}
void LiveServer::stop() {
  impl_->server.stop();
  wait();
}

}  // namespace nas::report
