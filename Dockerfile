# One image for every role: serve, work, migrate. There is no shell in it: a command is a program and its arguments.

# The version that Cargo.toml asks for. gcc and libc6-dev are in this image, and no crate of ours needs more.
FROM rust:1.95-slim-bookworm AS chef
RUN cargo install cargo-chef --locked --version 0.1.78
WORKDIR /src

# Writes down what is depended on, without our code: while that stays the same, no dependency is built again.
FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
# release, or dev for a quick build. Not test or bench: cargo builds these into the folders of the other two, and cargo-chef
# would leave the empty crates there that it builds in place of ours.
ARG PROFILE=release
ENV SQLX_OFFLINE=true
COPY --from=planner /src/recipe.json recipe.json
RUN cargo chef cook --profile "$PROFILE" --locked -p ecomdash --recipe-path recipe.json
COPY . .
# The folder of dev is target/debug. Only one profile was built here, so the pattern fits one file.
RUN cargo build --profile "$PROFILE" --locked -p ecomdash && cp target/*/ecomdash /ecomdash

# The C library and certificates, of the same Debian that it was built on.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="EcomDash" \
      org.opencontainers.image.description="Analytics for Shopify shops that a merchant can trust and an auditor can check" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /ecomdash /ecomdash
# By number: an orchestrator can see that it is not root.
USER 65532:65532
# serve listens on every address, and keys must be given: any made here would be gone with the container.
ENV ENVIRONMENT=production
EXPOSE 8000
ENTRYPOINT ["/ecomdash"]
CMD ["serve"]
