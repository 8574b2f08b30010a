// The chaos tests, or with --worker one of their workers.
#include "chaos/worker.hpp"

int main(int argc, char** argv) {
    if (argc > 1 && std::string(argv[1]) == "--worker") {
        try {
            return dbos::test::work(std::vector<std::string>(argv + 1, argv + argc));
        } catch (const std::exception& error) {
            std::fprintf(stderr, "worker: %s\n", error.what());
            return 1;
        }
    }
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
