#include "apps/report/serve.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <vector>

#include "tests/apps/report/run_fixture.h"

namespace nas::report {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Speaks to the server byte by byte, as an attacker may.
class Client {
 public:
  explicit Client(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    const timeval limit{20, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  bool connected() const { return connected_; }
  bool send(const std::string& text) const {
    for (std::size_t at = 0; at < text.size();) {
      const ssize_t n = ::send(socket_, text.data() + at, text.size() - at, MSG_NOSIGNAL);
      if (n <= 0) return false;
      at += static_cast<std::size_t>(n);
    }
    return true;
  }
  // Everything until the server closes.
  std::string rest() const {
    std::string text;
    char buffer[65536];
    for (ssize_t n; (n = ::recv(socket_, buffer, sizeof buffer, 0)) > 0;)
      text.append(buffer, static_cast<std::size_t>(n));
    return text;
  }

 private:
  int socket_;
  bool connected_ = false;
};

std::string body(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

class Serve : public testing::Test {
 protected:
  void SetUp() override {
    project_.write("runs/mine/run.json", test::run_json());
    project_.write("runs/mine/candidates.jsonl", test::line(0, 0, 0, "0.7", "2"));
    project_.write("secret.txt", "SECRET");
  }
  ServeOptions options() const {
    ServeOptions o;
    o.report.project = project_.folder();
    o.port = 0;
    return o;
  }
  LiveServer start(ServeOptions o) {
    auto server = LiveServer::start(std::move(o));
    EXPECT_TRUE(server) << server.error().message;
    return *std::move(server);
  }
  static std::string ask(const LiveServer& server, const std::string& target, const std::string& more = "",
                         const std::string& host = "localhost") {
    const Client client(server.port());
    client.send("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + more + "\r\n");
    return client.rest();
  }
  test::Project project_{"serve"};
};

TEST_F(Serve, ShowsTheLivePageWithItsPolicy) {
  const LiveServer server = start(options());
  const std::string page = ask(server, "/");
  EXPECT_THAT(page, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(page, HasSubstr("Content-Security-Policy: default-src 'none'; script-src 'sha256-"));
  EXPECT_THAT(page, HasSubstr("X-Content-Type-Options: nosniff"));
  EXPECT_THAT(page, Not(HasSubstr("Access-Control-Allow")));
}

TEST_F(Serve, GivesWhatIsNewWhileASearchAppends) {
  const LiveServer server = start(options());
  const Json first = Json::parse(body(ask(server, "/api/v1/report")));
  project_.append("runs/mine/candidates.jsonl", test::line(1, 0, 1, "0.8", "4"));
  Json more;
  for (int i = 0; i < 40 && !more.contains("runs"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    more = Json::parse(body(ask(server, "/api/v1/report?since=" + first["cursor"].get<std::string>())));
  }
  ASSERT_TRUE(more.contains("runs")) << more;
  EXPECT_EQ(more["runs"][0]["candidates"]["number"], Json({1}));
}

TEST_F(Serve, RefusesOtherHostsSoThatNoForeignNameReachesIt) {
  ServeOptions o = options();
  o.names = {"lab.example"};
  const LiveServer server = start(std::move(o));
  EXPECT_THAT(ask(server, "/", "", "evil.example"), StartsWith("HTTP/1.1 421"));
  EXPECT_THAT(ask(server, "/", "", "localhost.evil.example:8080"), StartsWith("HTTP/1.1 421"));
  EXPECT_THAT(ask(server, "/", "Host: evil.example\r\n"), StartsWith("HTTP/1.1 421"));
  EXPECT_THAT(ask(server, "/", "", "lab.example:80"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(server, "/", "", "127.0.0.1:1"), StartsWith("HTTP/1.1 200"));
  const Client none(server.port());
  none.send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_THAT(none.rest(), StartsWith("HTTP/1.1 421"));
}

TEST_F(Serve, HasNoPathToAnyFile) {
  const LiveServer server = start(options());
  for (const char* target : {"/secret.txt", "/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/%2e%2e/etc/passwd",
                             "//etc/passwd", "/runs/mine/run.json", "/api/v1/report/../../../etc/passwd",
                             "/api/v1/../../secret.txt", "/%00", "/..\\secret.txt", "file:///etc/passwd"}) {
    const std::string answer = ask(server, target);
    EXPECT_THAT(answer, Not(StartsWith("HTTP/1.1 200"))) << target;
    EXPECT_THAT(answer, Not(HasSubstr("SECRET"))) << target;
    EXPECT_THAT(answer, Not(HasSubstr("root:"))) << target;
  }
}

TEST_F(Serve, OnlyReads) {
  const LiveServer server = start(options());
  for (const std::string method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"}) {
    const Client client(server.port());
    client.send(method + " / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    EXPECT_THAT(client.rest(), StartsWith("HTTP/1.1 405")) << method;
  }
}

TEST_F(Serve, RefusesOversizedRequests) {
  const LiveServer server = start(options());
  const auto start_time = Clock::now();
  {
    const Client client(server.port());
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n");
    const std::string chunk(65536, 'x');
    for (int i = 0; i < 64 && client.send(chunk); ++i) {
    }
    EXPECT_THAT(client.rest(), Not(StartsWith("HTTP/1.1 200")));
  }
  EXPECT_THAT(ask(server, "/" + std::string(100000, 'a')), Not(StartsWith("HTTP/1.1 200")));
  EXPECT_THAT(ask(server, "/", "X: " + std::string(200000, 'a') + "\r\n"), Not(StartsWith("HTTP/1.1 200")));
  std::string many;
  for (int i = 0; i < 20000; ++i) many += "X" + std::to_string(i) + ": y\r\n";
  EXPECT_THAT(ask(server, "/", many), Not(StartsWith("HTTP/1.1 200")));
  EXPECT_THAT(ask(server, "/"), StartsWith("HTTP/1.1 200"));
  EXPECT_LT(Clock::now() - start_time, std::chrono::seconds(15));
}

TEST_F(Serve, ASlowClientEndsAtItsDeadlineAndDelaysNobody) {
  ServeOptions o = options();
  o.deadline_s = 1;
  const LiveServer server = start(std::move(o));
  const Client slow(server.port());
  const auto begin = Clock::now();
  slow.send("GET / HTTP/1.1\r\nHost: localhost\r\nX: ");
  std::thread drip([&slow] {
    for (int i = 0; i < 40 && slow.send("a"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
  });
  EXPECT_THAT(ask(server, "/api/v1/report"), StartsWith("HTTP/1.1 200"));
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(900));
  EXPECT_THAT(slow.rest(), Not(StartsWith("HTTP/1.1 200")));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(3));
  drip.join();
}

TEST_F(Serve, TwoHundredConnectionsAtOnceAreAllAnswered) {
  const LiveServer server = start(options());
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(std::make_unique<Client>(server.port()));
  // All are open and idle; a newcomer still gets its answer.
  EXPECT_THAT(ask(server, "/api/v1/report"), StartsWith("HTTP/1.1 200"));
  for (const auto& client : clients)
    ASSERT_TRUE(client->send("GET /api/v1/report HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  for (const auto& client : clients) {
    const std::string answer = client->rest();
    ASSERT_THAT(answer, StartsWith("HTTP/1.1 200"));
    ASSERT_EQ(Json::parse(body(answer))["format"], "hwnas-report-1");
  }
}

TEST_F(Serve, BeyondLoopbackNeedsATokenAndAsksEveryRequestForIt) {
  ServeOptions open = options();
  open.host = "0.0.0.0";
  const auto refused = LiveServer::start(std::move(open));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  ServeOptions o = options();
  o.host = "0.0.0.0";
  o.token = "correct-horse-battery";
  const LiveServer server = start(std::move(o));
  for (const char* target :
       {"/", "/api/v1/report", "/?token=wrong", "/?token=", "/?token=correct-horse-batter"})
    EXPECT_THAT(ask(server, target), StartsWith("HTTP/1.1 401")) << target;
  EXPECT_THAT(ask(server, "/api/v1/report", "Authorization: Bearer correct-horse-battery\r\n"),
              StartsWith("HTTP/1.1 200"));
  const std::string opened = ask(server, "/?token=correct-horse-battery");
  EXPECT_THAT(opened, StartsWith("HTTP/1.1 302"));
  EXPECT_THAT(opened, HasSubstr("HttpOnly; SameSite=Strict"));
  EXPECT_THAT(ask(server, "/", "Cookie: other=1; hwnas_token=correct-horse-battery\r\n"),
              StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(server, "/", "Cookie: hwnas_token=correct-horse\r\n"), StartsWith("HTTP/1.1 401"));
}

TEST_F(Serve, NoTextInItsAnswersCarriesMarkupOfTheRequest) {
  const LiveServer server = start(options());
  for (const char* target : {"/<script>alert(1)</script>", "/api/v1/report?since=<script>alert(1)</script>",
                             "/api/v1/report?since=..:::.<img>.5:5:5:5"})
    EXPECT_THAT(body(ask(server, target)), Not(HasSubstr("<script>alert"))) << target;
}

TEST(Bind, TakesAddressesAndPorts) {
  const auto parsed = [](const std::string& text) {
    ServeOptions o;
    const auto done = parse_bind(text, o);
    return done ? o.host + " " + std::to_string(o.port) : "error";
  };
  EXPECT_EQ(parsed("127.0.0.1:9000"), "127.0.0.1 9000");
  EXPECT_EQ(parsed("[::1]:0"), "::1 0");
  EXPECT_EQ(parsed(":81"), "127.0.0.1 81");
  EXPECT_EQ(parsed("81"), "127.0.0.1 81");
  EXPECT_EQ(parsed("host:65536"), "error");
  EXPECT_EQ(parsed("host:"), "error");
  EXPECT_EQ(parsed("a:b"), "error");
}

}  // namespace
}  // namespace nas::report
