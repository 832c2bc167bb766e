# The image of the server: the static binary of `make build-static`, and nothing else. `make image` builds it.
#
# Nothing is compiled here and no base image is pulled, so that laptop, CI and release share one recipe.
FROM scratch
COPY --chmod=0555 replica-count-manager /replica-count-manager
# Any other user works as well: nothing in here is written to.
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["/replica-count-manager"]
