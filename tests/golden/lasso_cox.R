# Makes lasso_rows.tsv, lasso_path.tsv, lasso_coefficients.tsv and lasso_breslow.tsv, and, where
# the real patients are found (MEDPIPE_DATA), lasso_lung1.tsv and lasso_lung1_coefficients.tsv,
# which hold derived numbers only.
# Run in this folder: Rscript lasso_cox.R
# Made with R 4.2.2, glmnet 4.1.6 and survival 3.5.3.
suppressMessages({library(glmnet); library(survival)})
versions <- sprintf("# %s, glmnet %s, survival %s", R.version.string, packageVersion("glmnet"),
                    packageVersion("survival"))
digits <- function(x) ifelse(is.na(x), "", sprintf("%.15g", x))
write <- function(frame, name) {
  numbers <- sapply(frame, is.double)
  frame[numbers] <- lapply(frame[numbers], digits)
  cat(versions, "\n", sep = "", file = name)
  suppressWarnings(write.table(frame, name, sep = "\t", quote = FALSE, row.names = FALSE,
                               append = TRUE))
}
# population standard deviation, as glmnet takes it
scaled <- function(x) {
  centred <- sweep(x, 2, colMeans(x))
  sweep(centred, 2, sqrt(colMeans(centred^2)), "/")
}
summarise <- function(name, x, y, folds, alpha, thresh, most, ...) {
  cv <- cv.glmnet(x, y, family = "cox", standardize = FALSE, alpha = alpha, foldid = folds,
                  thresh = thresh, maxit = 1e9, ...)
  fit <- cv$glmnet.fit
  m <- length(fit$lambda)
  deviance <- coxnet.deviance(x = x, y = y, beta = as.matrix(fit$beta))
  path <- data.frame(set = name, step = seq_len(m), lambda = fit$lambda,
                     n_selected = as.integer(fit$df), deviance_ratio = fit$dev.ratio,
                     deviance = deviance, cvm = cv$cvm, cvsd = cv$cvsd,
                     is_min = as.integer(seq_len(m) == cv$index["min", 1]),
                     is_1se = as.integer(seq_len(m) == cv$index["1se", 1]))
  steps <- which(cumall(fit$df <= most))
  beta <- as.matrix(fit$beta)
  at <- which(beta[, steps, drop = FALSE] != 0, arr.ind = TRUE)
  coefficients <- data.frame(set = name, step = steps[at[, 2]], column = as.integer(at[, 1]),
                             coefficient = beta[, steps, drop = FALSE][at])
  list(path = path, coefficients = coefficients)
}
cumall <- function(x) cumsum(!x) == 0

# 120 rows, 60 whole-numbered features in correlated blocks, times in tenths with many ties,
# censored rows at event times too
set.seed(120)
n <- 120; p <- 60
shared <- matrix(rnorm(n * 12), n)[, rep(1:12, each = 5)]
raw <- round(3 * (0.7 * shared + 0.7 * matrix(rnorm(n * p), n)))
truth <- 0.35 * raw[, 1] / 3 - 0.5 * raw[, 7] / 3 + 0.6 * raw[, 30] / 3
event_time <- rexp(n, 0.03 * exp(truth))
censoring <- runif(n, 5, 90)
time <- pmax(1, round(2 * pmin(event_time, censoring)) / 2)
event <- as.integer(event_time <= censoring)
folds <- sample(rep(1:10, length.out = n))
write(data.frame(time, event, fold = as.integer(folds), apply(raw, 2, as.integer)),
      "lasso_rows.tsv")
x <- scaled(raw); y <- Surv(time, event)
parts <- list(summarise("lasso", x, y, folds, 1, 1e-20, 12),
              summarise("elastic_net", x, y, folds, 0.5, 1e-20, 12))
write(do.call(rbind, lapply(parts, `[[`, "path")), "lasso_path.tsv")
write(do.call(rbind, lapply(parts, `[[`, "coefficients")), "lasso_coefficients.tsv")

cox <- coxph(y ~ x[, 1:12], ties = "breslow", control = coxph.control(eps = 1e-13, toler.chol = 1e-14))
write(data.frame(column = 1:12, coefficient = unname(coef(cox))), "lasso_breslow.tsv")

# the real development set; no row of it is written
root <- Sys.getenv("MEDPIPE_DATA", "../../../shared/data")
if (file.exists(file.path(root, "nsclc", "subjects.tsv"))) {
  read <- function(name) read.table(file.path(root, "nsclc", name), sep = "\t", header = TRUE,
                                    colClasses = c(subject = "character"))
  subjects <- read("subjects.tsv"); features <- read("published_radiomics.tsv")
  subjects <- subjects[subjects$centre == "lung1", ]
  subjects <- subjects[order(subjects$subject, method = "radix"), ]
  x <- scaled(as.matrix(features[match(subjects$subject, features$subject), -1]))
  y <- Surv(subjects$time_days / 30.4375, subjects$event)
  folds <- (seq_len(nrow(x)) - 1) %% 10 + 1
  # nearly collinear features: glmnet does not converge further down in hours
  part <- summarise("lung1", x, y, folds, 1, 1e-16, 12, nlambda = 40, lambda.min.ratio = 0.05)
  write(part$path, "lasso_lung1.tsv")
  write(part$coefficients, "lasso_lung1_coefficients.tsv")
}
